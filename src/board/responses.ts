/** The answers of a board. All of them carry headers that let the page load nothing but its own files. */

/** An answer, as data: for `node:http` and for servers of `Response` alike. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'",
  // The page's own requests say where they come from; nobody else learns it.
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

export function json(status: number, body: object): Answer {
  const headers = { ...HEADERS, 'content-type': 'application/json; charset=utf-8' };
  return { status, headers, body: JSON.stringify(body, withoutInfinity) };
}

/** A request that was not served, and why. */
export function problem(status: number, text: string): Answer {
  return json(status, { problem: text });
}

export function text(body: string, type: string): Answer {
  return { status: 200, headers: { ...HEADERS, 'content-type': `${type}; charset=utf-8` }, body };
}

export function redirect(location: string): Answer {
  return { status: 302, headers: { ...HEADERS, location }, body: '' };
}

/** JSON has no `Infinity`: the field of a lock that never expires is left out. */
function withoutInfinity(_field: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? undefined : value;
}
