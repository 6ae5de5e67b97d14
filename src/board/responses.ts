/** The responses of a board. All of them carry headers that let the page load nothing but its own files. */

const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'self'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
};

export function json(status: number, body: object): Response {
  const headers = { ...HEADERS, 'content-type': 'application/json; charset=utf-8' };
  return new Response(JSON.stringify(body, withoutInfinity), { status, headers });
}

/** A request that was not served, and why. */
export function problem(status: number, text: string): Response {
  return json(status, { problem: text });
}

export function text(body: string, type: string): Response {
  return new Response(body, { headers: { ...HEADERS, 'content-type': `${type}; charset=utf-8` } });
}

export function redirect(location: string): Response {
  return new Response(null, { status: 302, headers: { ...HEADERS, location } });
}

/** JSON has no `Infinity`: the field of a lock that never expires is left out. */
function withoutInfinity(_field: string, value: unknown): unknown {
  return value === Number.POSITIVE_INFINITY ? undefined : value;
}
