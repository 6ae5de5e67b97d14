/** Answers the requests of the page. */

import { LockAdminError } from '../admin/lock-admin.ts';
import { page } from './assets/page.ts';
import { SCRIPT } from './assets/script.ts';
import { STYLE } from './assets/style.ts';
import { handleForceRelease } from './force-release.ts';
import { Journals } from './journals.ts';
import { listLocks } from './lock-list.ts';
import { parseQuery } from './lock-search.ts';
import type { ParsedBoardOptions } from './options.ts';
import { type BoardRequest, pathWithin, RefusedRequest } from './request.ts';
import { type Answer, json, problem, redirect, text } from './responses.ts';
import type { Viewers } from './viewers.ts';

/** Creates the handler of a board. It never rejects. */
export function createHandler(
  options: ParsedBoardOptions,
  viewers: Viewers,
): (request: BoardRequest) => Promise<Answer> {
  const journals = new Journals(options.sources.values(), options.jobUrl);

  const showLocks = async ({ gone, query }: BoardRequest): Promise<Answer> => {
    const wanted = parseQuery(query, options.sources);
    const [list, outcomes, duplicates] = await Promise.all([
      viewers.serve(gone, signal => listLocks(options, wanted, signal)),
      journals.outcomes(),
      journals.duplicates(),
    ]);
    const { allowForceRelease } = options;
    const sources = [...options.sources.keys()];
    return json(200, { ...list, sources, allowForceRelease, now: Date.now(), outcomes, duplicates });
  };

  const showJob = async (jobId: string): Promise<Answer> =>
    json(200, { duplicates: await journals.duplicates(jobId) });

  const route = async (request: BoardRequest): Promise<Answer> => {
    const { method, mount } = request;
    const path = pathWithin(request);
    if (path === '/api/force-release') {
      if (method !== 'POST') return problem(405, 'the method must be POST');
      return distrust(request, options) ?? handleForceRelease(request, options);
    }
    const show = path === undefined ? undefined : SHOWN[path];
    const jobId = path?.startsWith(A_JOB) ? decoded(path.slice(A_JOB.length)) : undefined;
    if (!show && path !== '/api/locks' && jobId === undefined) return problem(404, NOT_FOUND);
    if (method !== 'GET' && method !== 'HEAD') return problem(405, 'the method must be GET');
    if (show) return show(options.title, mount);
    return distrust(request, options) ?? (jobId === undefined ? showLocks(request) : showJob(jobId));
  };

  return async request => {
    try {
      return await route(request);
    } catch (error) {
      if (error instanceof RefusedRequest) return problem(error.status, error.message);
      if (error instanceof LockAdminError) return problem(501, error.message);
      return problem(500, 'the request could not be served');
    }
  };
}

/** What is the same for all: the page and its files, by their paths within the mount. */
const SHOWN: Readonly<Record<string, (title: string, mount: string) => Answer>> = {
  '/': title => text(page(title), 'text/html'),
  '/board.js': () => text(SCRIPT, 'text/javascript'),
  '/board.css': () => text(STYLE, 'text/css'),
  // The page loads its files from paths that are relative to its own.
  '': (_title, mount) => redirect(`./${mount.slice(mount.lastIndexOf('/') + 1)}/`),
};

/** The path under which what became of a job is shown, followed by its id. */
const A_JOB = '/api/duplicates/';

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

const NOT_FOUND =
  "there is nothing at this path; if the board is mounted under another path than '/', name it in its option 'basePath'";

/** Why a request for data is refused, if its Host is not one of the board's. */
function distrust(request: BoardRequest, { trustsHost }: ParsedBoardOptions): Answer | undefined {
  const host = request.header('host');
  if (trustsHost(host)) return undefined;
  return problem(
    403,
    `the board is not served under the host '${host}': name it in the board's option 'hosts' ` +
      '(without that option, localhost and IP addresses are trusted). A proxy must pass on the Host of the browser',
  );
}
