// What each client must be able to do with the service of the conformance suite, which answers as its requests say.
// A case throws if something is not as it should be.

import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";

import { Failure } from "./clients.js";

const CANCELLED = 1, DEADLINE_EXCEEDED = 4, FAILED_PRECONDITION = 9, UNIMPLEMENTED = 12;
const LARGE = 3 << 19; // grpc-web takes 4 MiB at most, and an answer has the request in it
const MESSAGES = 1000;
const AT_ONCE = 30;
const SECOND = 1000;
const BINARY = Uint8Array.from({ length: 256 }, (_, at) => at);
const TEXT = "naïve – 50 % of “it”"; // percent-encoded on the way

const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder().decode(bytes);
const unpadded = (text) => text.replace(/=+$/, "");

function equal(found, wanted, what) {
  const [left, right] = [found, wanted].map((value) => JSON.stringify(value));
  if (left !== right) {
    throw new Error(`${what}: ${left?.slice(0, 200)}, not ${right?.slice(0, 200)}`);
  }
}

function filled(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 1) {
    bytes[at] = (at * 31 + (at >> 8)) & 255;
  }
  return bytes;
}

function same(found, wanted, what) {
  equal(found.length, wanted.length, `${what}: bytes`);
  if (found.some((byte, at) => byte !== wanted[at])) {
    throw new Error(`${what}: other bytes`);
  }
}

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Failure) {
      return error;
    }
    throw error;
  }
  throw new Error("the call ended well");
}

// Answers of a unary call, or of a stream.
const answer = (value, rest = {}) => ({ responseDefinition: { response: { case: "responseData", value }, ...rest } });
const refusal = (error, rest = {}) => ({ responseDefinition: { response: { case: "error", value: error }, ...rest } });
const stream = (texts, rest = {}) => ({ responseDefinition: { responseData: texts.map(encode), ...rest } });

async function ask(client, call) {
  const messages = [];
  const told = await client({ method: "unary", ...call, onMessage: (message) => messages.push(message.payload) });
  equal(messages.length, 1, "messages");
  return { ...told, ...messages[0] };
}

async function listen(client, call) {
  const texts = [];
  const told = await client({
    method: "serverStream", ...call, onMessage: ({ payload }) => { texts.push(decode(payload.data)); call.onMessage?.(payload); },
  });
  return { ...told, texts };
}

const METADATA = [
  { name: "x-custom-header", value: ["a value, with a comma"] },
  { name: "x-custom-header-bin", value: [base64Encode(BINARY, "std_raw")] },
];
const TRAILERS = [
  { name: "x-custom-trailer", value: ["the end"] },
  { name: "x-custom-trailer-bin", value: [base64Encode(BINARY.slice().reverse(), "std_raw")] },
];

function metadataIs(found, wanted, what) {
  for (const { name, value } of wanted) {
    equal(unpadded(found[name] ?? ""), value[0], `${what} ${name}`);
  }
}

const DETAIL = { typeUrl: "type.googleapis.com/connectrpc.conformance.v1.Header", value: encode("\n\u0004name\u0012\u0005value") };
const ERROR = { code: FAILED_PRECONDITION, message: TEXT, details: [DETAIL] };

function errorIs(error, trailers = TRAILERS) {
  equal(error.code, FAILED_PRECONDITION, "code");
  equal(error.message, TEXT, "message");
  equal(error.details[0]?.type, "connectrpc.conformance.v1.Header", "type of the detail");
  same(error.details[0].value, DETAIL.value, "detail");
  metadataIs(error.metadata, trailers, "trailer");
}

export const cases = {
  "unary": async (client) => equal(decode((await ask(client, { request: answer(encode(TEXT)) })).data), TEXT, "data"),

  "empty unary": async (client) => equal((await ask(client, { request: {} })).data.length, 0, "data"),

  "metadata both ways": async (client) => {
    const metadata = { "x-ascii": "a b, c", "x-binary-bin": base64Encode(BINARY, "std_raw") };
    const request = answer(encode("x"), { responseHeaders: METADATA, responseTrailers: TRAILERS });
    const { requestInfo, header, trailer } = await ask(client, { request, metadata });
    const seen = Object.fromEntries(requestInfo.requestHeaders.map(({ name, value }) => [name.toLowerCase(), value.join()]));
    equal(seen["x-ascii"], metadata["x-ascii"], "x-ascii");
    same(base64Decode(seen["x-binary-bin"]), BINARY, "x-binary-bin");
    metadataIs(header, METADATA, "header");
    metadataIs(trailer, TRAILERS, "trailer");
  },

  "metadata of a stream": async (client) => {
    const request = stream(["x"], { responseHeaders: METADATA, responseTrailers: TRAILERS });
    const { header, trailer } = await listen(client, { request });
    metadataIs(header, METADATA, "header");
    metadataIs(trailer, TRAILERS, "trailer");
  },

  "server streaming": async (client, { incremental }) => {
    const texts = ["a", "", "b", TEXT, "c"];
    let first;
    const request = stream(texts, { responseDelayMs: 100 });
    const { texts: found } = await listen(client, { request, onMessage: () => { first ??= performance.now(); } });
    equal(found, texts, "messages");
    if (incremental && performance.now() - first < 200) {
      throw new Error("the messages came all at once");
    }
  },

  "empty stream": async (client) => equal((await listen(client, { request: stream([]) })).texts, [], "messages"),

  "stream of many messages": async (client) => {
    const texts = Array.from({ length: MESSAGES }, (_, at) => `${at} ${"x".repeat(at)}`);
    equal((await listen(client, { request: stream(texts) })).texts, texts, "messages");
  },

  "error with details and trailers": async (client) => {
    errorIs(await failure(ask(client, { request: refusal(ERROR, { responseTrailers: TRAILERS }) })));
  },

  "error of a stream at once": async (client) => {
    errorIs(await failure(listen(client, { request: stream([], { error: ERROR, responseTrailers: TRAILERS }) })));
  },

  "error after messages": async (client) => {
    const texts = [];
    const onMessage = ({ data }) => texts.push(decode(data));
    errorIs(await failure(listen(client, { request: stream(["a", "b"], { error: ERROR, responseTrailers: TRAILERS }), onMessage })));
    equal(texts, ["a", "b"], "messages");
  },

  "the server knows the deadline": async (client) => {
    const { requestInfo } = await ask(client, { request: answer(encode("x")), timeoutMs: 60 * SECOND });
    const left = Number(requestInfo.timeoutMs ?? 0);
    if (!(left > 30 * SECOND && left <= 60 * SECOND)) {
      throw new Error(`the server has ${left} ms`);
    }
  },

  "deadline": async (client) => {
    const began = performance.now();
    const request = answer(encode("late"), { responseDelayMs: 10 * SECOND });
    equal((await failure(ask(client, { request, timeoutMs: 300 }))).code, DEADLINE_EXCEEDED, "code");
    if (performance.now() - began > 5 * SECOND) {
      throw new Error("the deadline was much later");
    }
  },

  "deadline of a stream": async (client, { incremental }) => {
    const texts = [];
    const request = stream(["a", "b", "c"], { responseDelayMs: 2 * SECOND });
    const call = { request, timeoutMs: 3 * SECOND, onMessage: ({ data }) => texts.push(decode(data)) };
    equal((await failure(listen(client, call))).code, DEADLINE_EXCEEDED, "code");
    if (incremental) {
      equal(texts, ["a"], "messages");
    }
  },

  "cancellation": async (client, { incremental }) => {
    const abort = new AbortController();
    const texts = [];
    const request = stream(Array(100).fill("x"), { responseDelayMs: 100 });
    const onMessage = ({ data }) => {
      texts.push(decode(data));
      abort.abort();
    };
    if (!incremental) {
      setTimeout(() => abort.abort(), 500);
    }
    equal((await failure(listen(client, { request, signal: abort.signal, onMessage }))).code, CANCELLED, "code");
    equal(texts, incremental ? ["x"] : [], "messages");
  },

  "large request": async (client) => {
    const request = { ...answer(encode("taken")), requestData: filled(LARGE) };
    const { data, requestInfo } = await ask(client, { request });
    equal(decode(data), "taken", "data");
    const [{ value }] = requestInfo.requests; // as the server has it: the data are the end of the message
    same(value.subarray(value.length - LARGE), request.requestData, "the server has");
  },

  "large answer": async (client) => {
    const wanted = filled(LARGE);
    same((await ask(client, { request: answer(wanted) })).data, wanted, "the answer has");
  },

  "unimplemented": async (client) => {
    equal((await failure(client({ method: "unimplemented", request: {} }))).code, UNIMPLEMENTED, "code");
  },

  "many calls at once": async (client) => {
    const texts = Array.from({ length: AT_ONCE }, (_, at) => `call ${at}`);
    const answers = await Promise.all(texts.map((text) => ask(client, { request: answer(encode(text), { responseDelayMs: 20 }) })));
    equal(answers.map(({ data }) => decode(data)), texts, "data");
  },
};

// By Connect alone: a call without side effects is a GET.
export const connectCases = {
  "get": async (client) => {
    const { data, requestInfo } = await ask(client, { method: "idempotentUnary", request: answer(encode(TEXT)) });
    equal(decode(data), TEXT, "data");
    equal(requestInfo.connectGetInfo !== undefined, true, "by GET");
  },
};

// Where the route allows no page of another origin.
export const foreignCases = {
  "a page of another origin": async (client) => {
    await failure(ask(client, { request: answer(encode("secret")) }));
  },
};
