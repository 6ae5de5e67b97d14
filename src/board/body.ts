/** Reads the body of a request, up to a limit. */

import { RefusedRequest } from './request.ts';

/** A force release needs far less: the longest name of a lock has a few kilobytes. */
const MAX_BODY_BYTES = 65_536;

/**
 * Reads a body of JSON.
 * @param contentLength - what the request says of its length. A body that is sent in chunks has none.
 * @throws RefusedRequest it is too large, and the rest is not read; it can't be read; it is no JSON.
 */
export async function readBody(
  chunks: AsyncIterable<Uint8Array>,
  contentLength: string | undefined,
): Promise<unknown> {
  refuseTooLarge(Number(contentLength ?? 0));
  const read: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of readable(chunks)) {
    size += chunk.length;
    refuseTooLarge(size);
    read.push(chunk);
  }
  return parseBody(Buffer.concat(read).toString());
}

/** @throws RefusedRequest it is no JSON. */
export function parseBody(text: string): unknown {
  if (text === '') {
    throw new RefusedRequest(
      400,
      "the request has no body; a server that reads bodies before the board must hand it on as the request's 'body'",
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new RefusedRequest(400, 'the body of the request must be JSON');
  }
}

function refuseTooLarge(size: number): void {
  if (size > MAX_BODY_BYTES) {
    throw new RefusedRequest(413, `the body of the request is larger than ${MAX_BODY_BYTES} bytes`);
  }
}

/** The client may hang up, and the body may have been read by others. */
async function* readable(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* chunks;
  } catch {
    throw new RefusedRequest(400, 'the body of the request could not be read');
  }
}
