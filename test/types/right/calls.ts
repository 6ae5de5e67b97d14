/** Calls of `once`. */

import { once } from 'bullmq-once';

const download = async (feed: { readonly url: string }, retries = 0): Promise<string> =>
  `${feed.url} ${retries}`;

once(download, { key: 'feed-{url}' });
once(download, { key: 'feed-{0.url}-{1}' });
once(download, { key: (feed, retries) => `${feed.url} ${retries}` });
once(download, { key: 'feeds', whenLocked: (holder, feed) => `${holder.owner} ${feed.url}` });
once(download, { key: String(process.env.KEY) });
once(async (...ids: number[]) => ids, { key: 'ids-{0}-{1}' });
once(async (whatever: any, unknown: unknown) => [whatever, unknown], { key: '{0.name}-{1.name}' });
once((found?: { readonly id: number }) => found, { key: 'found-{id}' });
once(download, { key: 'feed-{url}', match: '{url}' });
once(download, { key: 'feed-{0.url}', match: '{1}' });
once(download, { key: 'feed-{url}', match: (feed, retries) => `${feed.url} ${retries}` });
once(download, { key: 'feed-{url}', match: String(process.env.MATCH) });
