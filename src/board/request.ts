/** A request, as a board sees it, from whichever server it comes. */

export interface BoardRequest {
  readonly method: string;
  /** The whole path, as it was sent. */
  readonly path: string;
  /** The parameters behind it. */
  readonly query: URLSearchParams;
  /** The path under which the page is mounted, without a slash at its end: `/locks`; empty at the root. */
  readonly mount: string;
  /** @param name - in lower case. */
  header(name: string): string | undefined;
  /**
   * Reads the body.
   * @throws RefusedRequest it is too large, or could not be read.
   */
  body(): Promise<unknown>;
  /** Aborted when the client has gone without an answer. */
  readonly gone: AbortSignal;
}

/** The request can't be served. The message is for those who sent it. */
export class RefusedRequest extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * The path within the mount. It is compared as it was sent, because a proxy in front may have rules for paths: what it takes for
 * another path must be another path here.
 * @returns empty, where only the slash after the mount is missing; `undefined`, where it is not of the board.
 */
export function pathWithin({ mount, path }: Pick<BoardRequest, 'mount' | 'path'>): string | undefined {
  if (path === mount && mount !== '') return '';
  return path.startsWith(`${mount}/`) ? path.slice(mount.length) : undefined;
}
