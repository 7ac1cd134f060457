// Runs the cases in each of the ways that the address names after "#", and leaves the results in `window.results`.

import { cases, connectCases, foreignCases } from "./cases.js";
import { make } from "./clients.js";

const PATIENCE = 60_000;

function within(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no end in a minute")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run(ways) {
  const results = [];
  for (const way of ways) {
    const own = way.foreign ? foreignCases : { ...cases, ...(way.protocol === "connect" ? connectCases : {}) };
    const client = make(way);
    for (const [name, test] of Object.entries(own)) {
      const began = performance.now();
      let error = null;
      try {
        await within(test(client, way));
      } catch (thrown) {
        error = String(thrown);
      }
      results.push({ way: way.name, case: name, error, seconds: (performance.now() - began) / 1000 });
      document.getElementById("log").append(`${way.name}: ${name}: ${error ?? "passed"}\n`);
    }
  }
  return results;
}

run(JSON.parse(decodeURIComponent(location.hash.slice(1)))).then((results) => {
  window.results = results;
  window.protocol = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  document.title = "done";
});
