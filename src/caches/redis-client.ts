/** Runs a script on whichever Redis client there is. The only room that knows how clients differ. */

import { createHash } from 'node:crypto';

/** The client has commands of the user's own: ioredis, and what BullMQ wraps other clients in. */
export interface DefiningClient {
  defineCommand(name: string, definition: { numberOfKeys?: number; lua: string }): unknown;
}

/** The client runs scripts as node-redis does. */
export interface EvaluatingClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  evalSha(sha1: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

/** What a {@link RedisCache} asks of a client: a way to run a script. */
export type RedisClient = DefiningClient | EvaluatingClient;

/** Runs one script on one client. What it sends it sends before it returns its promise. */
export interface ScriptRunner {
  /** How many keys one call may have. */
  readonly mostKeys: number;
  run(keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

/**
 * How many keys the commands have, see {@link runDefined}. A script call holds the server up; the most that there are
 * take it less than a millisecond.
 */
const KEY_COUNTS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];
const MOST_KEYS = Math.max(...KEY_COUNTS);

/** @throws TypeError nothing here can run a script. */
export function scriptRunner(client: RedisClient, lua: string): ScriptRunner {
  if (typeof client !== 'object' || client === null) throw noClient(client);
  const sha = createHash('sha1').update(lua).digest('hex');
  // A script's keys must share a slot of a cluster; single keys always do.
  const mostKeys = isCluster(client) ? 1 : MOST_KEYS;
  if (isDefining(client)) {
    return { mostKeys, run: (keys, args) => runDefined(client, sha, lua, keys, args) };
  }
  if (isEvaluating(client)) {
    return { mostKeys, run: (keys, args) => runEvaluated(client, sha, lua, keys, args) };
  }
  throw noClient(client);
}

/** Whether the client spreads keys over several servers. */
export function isCluster(client: object): boolean {
  return ('isCluster' in client && client.isCluster === true) || 'slots' in client;
}

/**
 * BullMQ's wrapped clients take a fixed number of keys a command. So there are commands for some numbers, and the
 * keys are padded with the first of them.
 */
function runDefined(
  client: DefiningClient,
  sha: string,
  lua: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const numberOfKeys = KEY_COUNTS.find(count => count >= keys.length) as number;
  // Named after its text, so that two versions of this package can share a connection.
  const name = `bullmqOnce-${sha.slice(0, 12)}-${numberOfKeys}`;
  const commands = client as unknown as Record<string, (args: unknown[]) => Promise<unknown>>;
  if (!commands[name]) client.defineCommand(name, { numberOfKeys, lua });
  const padding = new Array<unknown>(numberOfKeys - keys.length).fill(keys[0]);
  const all = (keys as readonly unknown[]).concat(padding, args);
  return (commands[name] as (args: unknown[]) => Promise<unknown>)(all);
}

async function runEvaluated(
  client: EvaluatingClient,
  sha: string,
  lua: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const options = { keys: [...keys], arguments: args.map(String) };
  try {
    return await client.evalSha(sha, options);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return client.eval(lua, options);
  }
}

function isDefining(client: RedisClient): client is DefiningClient {
  return typeof (client as Partial<DefiningClient>).defineCommand === 'function';
}

function isEvaluating(client: RedisClient): client is EvaluatingClient {
  const { eval: run, evalSha } = client as Partial<EvaluatingClient>;
  return typeof run === 'function' && typeof evalSha === 'function';
}

function noClient(given: unknown): TypeError {
  const what =
    typeof given === 'object' && given !== null
      ? `an object of class ${given.constructor?.name ?? '(none)'}`
      : String(given);
  return new TypeError(
    'RedisCache needs a client that can run scripts: an ioredis client (defineCommand) or a node-redis client ' +
      `(eval, evalSha); it got ${what}`,
  );
}
