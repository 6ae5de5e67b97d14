/**
 * The hosts under which a board answers. A hostile page can give its own name the address of the board (DNS rebinding). Its
 * requests are of the same origin then, and nothing but their Host tells them from the page's.
 */

import { isIP } from 'node:net';
import { type Parser, show } from '../core/validation.ts';

/** Says whether a request with this Host is answered. */
export type TrustsHost = (host: string | undefined) => boolean;

/** Nobody can give these another address. */
export const trustsLocalHosts: TrustsHost = host => {
  const name = parseHost(host)?.hostname;
  if (name === undefined) return false;
  return name === 'localhost' || name.endsWith('.localhost') || isIP(name.replace(/^\[|\]$/g, '')) > 0;
};

export const trustedHosts: Parser<TrustsHost> = (value, option) => {
  if (!Array.isArray(value) || value.length === 0) {
    throw new TypeError(`${option} must be an array of one host or more, not ${show(value)}`);
  }
  const trusted = new Set(
    value.map(host => {
      const parsed = parseHost(host);
      if (parsed && !parsed.hostname.includes('*')) return withoutDefaultPort(parsed);
      throw new TypeError(
        `${option} must hold hosts such as 'ops.example.com' or 'localhost:3000', not ${show(host)}`,
      );
    }),
  );
  return host => {
    const parsed = parseHost(host);
    return parsed !== undefined && (trusted.has(withoutDefaultPort(parsed)) || trusted.has(parsed.hostname));
  };
};

/** Browsers leave out the port 443 of a page that they got by TLS. */
function withoutDefaultPort({ host, hostname, port }: URL): string {
  return port === '443' ? hostname : host;
}

/** A host in its one form: in lower case, an international name in ASCII, without the port 80. */
function parseHost(host: unknown): URL | undefined {
  if (typeof host !== 'string' || !/^[^\s/?#@\\]+$/.test(host)) return undefined;
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url) : undefined;
}
