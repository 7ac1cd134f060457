// Two libraries for browsers in one shape: grpc-web, and connect-web with both of its protocols.
//
// A client is a function of a call: {method, request, metadata, timeoutMs, signal, onMessage}. It gives {header, trailer} when the
// call has ended well, and throws a Failure otherwise. Names of metadata are in lower case; values of "-bin" are base64.

import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { GrpcWebClientBase, MethodDescriptor, MethodType } from "grpc-web";

import descriptors from "./service.binpb";

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
const service = registry.getService("connectrpc.conformance.v1.ConformanceService");
const CANCELLED = 1;

export class Failure extends Error {
  constructor(code, message, details, metadata) {
    super(message);
    this.code = code;
    this.details = details; // of {type, value}
    this.metadata = metadata;
  }
}

export function make({ library, protocol, format, base }) {
  return library === "grpc-web" ? grpcWeb(base, format) : connectWeb(base, protocol);
}

function connectWeb(baseUrl, protocol) {
  const transport = protocol === "connect" ? createConnectTransport({ baseUrl, useHttpGet: true, useBinaryFormat: true })
    : createGrpcWebTransport({ baseUrl });
  const client = createClient(service, transport);
  return async ({ method, request, metadata = {}, timeoutMs, signal, onMessage = () => {} }) => {
    const told = { header: {}, trailer: {} };
    const options = {
      headers: metadata,
      timeoutMs,
      signal,
      onHeader: (headers) => { told.header = Object.fromEntries(headers); },
      onTrailer: (trailers) => { told.trailer = Object.fromEntries(trailers); },
    };
    try {
      if (service.method[method].methodKind === "unary") {
        onMessage(await client[method](request, options));
      } else {
        for await (const message of client[method](request, options)) {
          onMessage(message);
        }
      }
    } catch (error) {
      const { code, rawMessage, details, metadata: seen } = ConnectError.from(error);
      throw new Failure(code, rawMessage, details.map(({ type, value }) => ({ type, value })), Object.fromEntries(seen));
    }
    return told;
  };
}

function grpcWeb(base, format) {
  const client = new GrpcWebClientBase({ format });
  return ({ method, request, metadata = {}, timeoutMs, signal, onMessage = () => {} }) => new Promise((resolve, reject) => {
    const { name, input, output, methodKind } = service.method[method];
    const path = `${base}/${service.typeName}/${name}`;
    const unary = methodKind === "unary";
    const descriptor = new MethodDescriptor(
      path,
      unary ? MethodType.UNARY : MethodType.SERVER_STREAMING,
      Object,
      Object,
      (message) => toBinary(input, message),
      (bytes) => fromBinary(output, bytes),
    );
    const sent = { ...metadata };
    if (timeoutMs !== undefined) {
      sent.deadline = String(Date.now() + timeoutMs);
    }
    const told = { header: {}, trailer: {} };
    const fail = ({ code, message, metadata: seen }) => reject(new Failure(code, message, detailsOf(seen), lower(seen)));
    const message = create(input, request);
    // A unary call gives its message out with its end, which is after the status.
    const stream = unary
      ? client.rpcCall(path, message, sent, descriptor, (error, answer) => (error ? fail(error) : onMessage(answer)))
      : client.serverStreaming(path, message, sent, descriptor).on("data", onMessage).on("error", fail);
    stream.on("metadata", (seen) => { told.header = lower(seen); });
    stream.on("status", ({ code, details, metadata: seen }) => {
      told.trailer = lower(seen);
      if (code !== 0) {
        fail({ code, message: details, metadata: seen });
      }
    });
    stream.on("end", () => resolve(told));
    signal?.addEventListener("abort", () => {
      stream.cancel();
      reject(new Failure(CANCELLED, "cancelled", [], {}));
    });
  });
}

function lower(metadata) {
  return Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name.toLowerCase(), value.trim()]));
}

function detailsOf(metadata) {
  const encoded = lower(metadata)["grpc-status-details-bin"];
  if (encoded === undefined) {
    return [];
  }
  const { details } = fromBinary(registry.getMessage("weir.conformance.Status"), base64Decode(encoded));
  return details.map(({ typeUrl, value }) => ({ type: typeUrl.split("/").at(-1), value }));
}
