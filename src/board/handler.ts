/** Answers the requests of the page. */

import { LockAdminError } from '../admin/lock-admin.ts';
import { page } from './assets/page.ts';
import { SCRIPT } from './assets/script.ts';
import { STYLE } from './assets/style.ts';
import { handleForceRelease } from './force-release.ts';
import { listLocks } from './lock-list.ts';
import type { ParsedBoardOptions } from './options.ts';
import type { OutcomeCounts } from './outcome-counts.ts';
import { json, problem, redirect, text } from './responses.ts';

/** Creates the handler of a board. It answers under any path, and never rejects. */
export function createHandler(
  options: ParsedBoardOptions,
  outcomes: OutcomeCounts,
): (request: Request) => Promise<Response> {
  return async request => {
    try {
      return await route(request, options, outcomes);
    } catch (error) {
      if (error instanceof LockAdminError) return problem(501, error.message);
      return problem(500, 'the request could not be served');
    }
  };
}

/** The board does not know the path that it is mounted under, so only the end of the path counts. */
async function route(
  request: Request,
  options: ParsedBoardOptions,
  outcomes: OutcomeCounts,
): Promise<Response> {
  const { method } = request;
  const { pathname } = new URL(request.url);
  if (pathname.endsWith('/api/force-release')) {
    return method === 'POST' ? handleForceRelease(request, options) : problem(405, 'the method must be POST');
  }
  if (method !== 'GET' && method !== 'HEAD') return problem(405, 'the method must be GET');
  if (pathname.endsWith('/api/locks')) return showLocks(options, outcomes);
  if (pathname.endsWith('/board.js')) return text(SCRIPT, 'text/javascript');
  if (pathname.endsWith('/board.css')) return text(STYLE, 'text/css');
  if (pathname.endsWith('/')) return text(page(options.title), 'text/html');
  // The page loads its files from paths that are relative to its own.
  return redirect(`./${pathname.slice(pathname.lastIndexOf('/') + 1)}/`);
}

async function showLocks(options: ParsedBoardOptions, outcomes: OutcomeCounts): Promise<Response> {
  const list = await listLocks(options);
  return json(200, { ...list, readOnly: options.readOnly, now: Date.now(), outcomes: outcomes.counts() });
}
