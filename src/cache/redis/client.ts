/** Runs scripts on any of the supported Redis clients. The only file that knows how they run them. */

import { crypto } from '../../core/builtins.ts';
import { showClass } from '../../core/validation.ts';

/** The client runs scripts as ioredis does. */
export interface ScriptingClient {
  eval(script: string, numberOfKeys: number, ...args: (string | number)[]): Promise<unknown>;
  evalsha(sha1: string, numberOfKeys: number, ...args: (string | number)[]): Promise<unknown>;
}

/** The client lets its user define commands: BullMQ's wrappers of clients other than ioredis. */
export interface DefiningClient {
  defineCommand(name: string, definition: { numberOfKeys?: number; lua: string }): unknown;
}

/** The client runs scripts as node-redis does. */
export interface EvaluatingClient {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
  evalSha(sha1: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>;
}

/** The client sends any command: Valkey GLIDE. */
export interface CommandingClient {
  customCommand(command: string[]): Promise<unknown>;
}

/** Bun's own client sends any command too. */
export interface SendingClient {
  send(command: string, args: string[]): Promise<unknown>;
}

/** What a {@link RedisCache} needs of a client: a way to run a script. */
export type RedisClient =
  | ScriptingClient
  | DefiningClient
  | EvaluatingClient
  | CommandingClient
  | SendingClient;

/** Runs one script on one client. It sends before it returns its promise. */
export interface ScriptRunner {
  /** @param keys - {@link MAX_KEYS} at most, of one slot where there is a cluster. */
  run(keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

/** The numbers of keys for which there are commands, see {@link runDefined}. */
const KEY_COUNTS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/** The most keys of one call. The server does nothing else meanwhile; so many take it less than a millisecond. */
export const MAX_KEYS: number = Math.max(...KEY_COUNTS);

/** @throws TypeError the client can't run a script, or would run it on other keys. */
export function scriptRunner(client: RedisClient, lua: string): ScriptRunner {
  if (typeof client !== 'object' || client === null) throw notAClient(client);
  refuseKeyPrefix(client);
  const sha = crypto().createHash('sha1').update(lua).digest('hex');
  if (isScripting(client)) return { run: (keys, args) => runScripted(client, sha, lua, keys, args) };
  if (isDefining(client)) return { run: (keys, args) => runDefined(client, sha, lua, keys, args) };
  if (isEvaluating(client)) return { run: (keys, args) => runEvaluated(client, sha, lua, keys, args) };
  const send = sender(client);
  if (send) return { run: (keys, args) => runSent(send, sha, lua, keys, args) };
  throw notAClient(client);
}

/** Whether it is a client of Redis, or one of BullMQ's wrappers. Such a client may have `get` and `set`, and is no store. */
export function isRedisClient(given: object): boolean {
  const client = given as RedisClient;
  const isSender = sender(client) !== undefined && ('connected' in given || 'customCommand' in given);
  return isScripting(client) || isDefining(client) || isEvaluating(client) || isSender;
}

const ERROR_REPLY_NAMES = ['ReplyError', 'ErrorReply', 'SimpleError', 'BlobError'];
const ERROR_REPLY_CODES =
  /^(?:READONLY|OOM|MISCONF|NOREPLICAS|LOADING|MASTERDOWN|CLUSTERDOWN|NOAUTH|NOPERM|WRONGTYPE|BUSY) /;

/** Whether an error is the server's answer to a command: as ioredis and node-redis name it, or by the code that it begins with. */
export function isErrorReply({ name, message }: Error): boolean {
  return ERROR_REPLY_NAMES.includes(name) || ERROR_REPLY_CODES.test(message);
}

/** Whether the client says that it spreads keys over several servers. */
export function isCluster(client: object): boolean {
  return (
    ('isCluster' in client && client.isCluster === true) ||
    'slots' in client ||
    client.constructor?.name === 'GlideClusterClient'
  );
}

interface Address {
  readonly host?: string;
  readonly port?: number;
}

/** Where clients, and BullMQ's wrappers of them, keep the address of their server. */
interface AddressOptions extends Address {
  readonly path?: string | null;
  readonly db?: number;
  readonly name?: string;
  readonly sentinels?: readonly Address[] | null;
  /** Of node-redis. */
  readonly url?: string;
  readonly socket?: Address & { readonly path?: string };
  readonly database?: number;
  /** Of Valkey GLIDE. */
  readonly addresses?: readonly Address[];
  readonly databaseId?: number;
}

interface AddressedClient {
  readonly options?: AddressOptions;
  /** Of Valkey GLIDE. */
  readonly config?: AddressOptions;
  /** Of a cluster client of ioredis. */
  readonly startupNodes?: readonly Address[];
  /** Of ioredis: what was selected since. */
  readonly condition?: { readonly select?: number } | null;
}

/**
 * The database of Redis that a client is connected to, as a string without a password; `undefined` where the client does not say it
 * for certain.
 */
export function datastoreOf(client: object): string | undefined {
  const { options, config, startupNodes, condition } = client as AddressedClient;
  const known = options ?? config ?? {};
  const nodes = Array.isArray(startupNodes) ? startupNodes : known.addresses;
  const db = condition?.select ?? known.db ?? known.database ?? known.databaseId;
  if (nodes) return nodes.every(({ host }) => host) ? nameOf(nodes, db) : undefined;
  if (isCluster(client)) return undefined;
  if (known.sentinels) return `${known.name} of ${nameOf(known.sentinels, db)}`;
  if (known.url && URL.canParse(known.url)) {
    const { hostname, port, pathname } = new URL(known.url);
    return nameOf([{ host: hostname, port: Number(port || 6379) }], db ?? Number(pathname.slice(1) || 0));
  }
  const { host, port, path } = known.socket ?? known;
  if (path) return `redis ${path} ${db ?? 0}`;
  return host && port ? nameOf([{ host, port }], db) : undefined;
}

function nameOf(servers: readonly Address[], db = 0): string {
  const addresses = servers.map(({ host = '', port = 6379 }) => {
    const isLocal = /^(?:localhost|127\.0\.0\.1|::1|\[::1\])$/.test(host);
    return `${isLocal ? 'localhost' : host.toLowerCase()}:${port}`;
  });
  return `redis ${addresses.sort().join(' ')} ${db}`;
}

interface Prefixed {
  readonly keyPrefix?: string;
}

/** Clients without the same prefix would not see these locks. BullMQ refuses a `keyPrefix` too. */
function refuseKeyPrefix(client: object): void {
  const { options } = client as { options?: Prefixed & { redisOptions?: Prefixed } };
  const keyPrefix = options?.keyPrefix || options?.redisOptions?.keyPrefix;
  if (!keyPrefix) return;
  throw new TypeError(
    `RedisCache: the client has the keyPrefix '${keyPrefix}', so clients without it would not see its locks; give it ` +
      "a client without one, such as client.duplicate({ keyPrefix: '' }), and tell locks apart by their scope",
  );
}

/** Runs a script on one server of a cluster, with no keys. */
export type ServerRunner = (lua: string, args: readonly (string | number)[]) => Promise<unknown>;

/**
 * The masters of a cluster.
 * @throws Error the client does not say which they are.
 */
export async function mastersOf(client: RedisClient): Promise<ServerRunner[]> {
  const { nodes, masters, nodeClient } = client as Partial<IoredisCluster & NodeRedisCluster>;
  if (typeof nodes === 'function') {
    return nodes.call(client, 'master').map(node => (lua, args) => node.eval(lua, 0, ...args));
  }
  if (Array.isArray(masters) && typeof nodeClient === 'function') {
    const clients = await Promise.all(masters.map(master => nodeClient.call(client, master)));
    return clients.map(node => (lua, args) => node.eval(lua, { keys: [], arguments: args.map(String) }));
  }
  throw new Error(
    'RedisCache: this client does not say which servers its cluster has, so not all locks can be listed; ' +
      'list those of a queue whose prefix has a hash tag, or use ioredis or node-redis',
  );
}

interface IoredisCluster {
  nodes(role: 'master'): { eval(lua: string, keys: 0, ...args: (string | number)[]): Promise<unknown> }[];
}

interface NodeRedisCluster {
  readonly masters: readonly object[];
  nodeClient(master: object): Promise<EvaluatingClient>;
}

/**
 * Not by a command of our own: ioredis' auto-pipelines do not know a command that is defined while they are open, and fail with
 * all that is in them.
 */
function runScripted(
  client: ScriptingClient,
  sha: string,
  lua: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  return evalShaOrEval(
    () => client.evalsha(sha, keys.length, ...keys, ...args),
    () => client.eval(lua, keys.length, ...keys, ...args),
  );
}

/**
 * The commands of BullMQ's wrapped clients take a fixed number of keys. So there are commands for some numbers, and the
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
  // Named after its script, so that two versions of this package can share a connection.
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
  return evalShaOrEval(
    () => client.evalSha(sha, options),
    () => client.eval(lua, options),
  );
}

async function runSent(
  send: Sender,
  sha: string,
  lua: string,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  const rest = [String(keys.length), ...keys, ...args.map(String)];
  return evalShaOrEval(
    () => send('EVALSHA', [sha, ...rest]),
    () => send('EVAL', [lua, ...rest]),
  );
}

/** Sends the whole script only where the server does not have it. */
async function evalShaOrEval(
  evalSha: () => Promise<unknown>,
  evaluate: () => Promise<unknown>,
): Promise<unknown> {
  try {
    return await evalSha();
  } catch (error) {
    // Redis and most clients begin with 'NOSCRIPT'; GLIDE has 'NoScriptError' in the middle of its message.
    if (!(error instanceof Error && /NoScript/i.test(error.message))) throw error;
    return evaluate();
  }
}

function isScripting(client: RedisClient): client is ScriptingClient {
  const { eval: run, evalsha } = client as Partial<ScriptingClient>;
  return typeof run === 'function' && typeof evalsha === 'function';
}

function isDefining(client: RedisClient): client is DefiningClient {
  return typeof (client as Partial<DefiningClient>).defineCommand === 'function';
}

function isEvaluating(client: RedisClient): client is EvaluatingClient {
  const { eval: run, evalSha } = client as Partial<EvaluatingClient>;
  return typeof run === 'function' && typeof evalSha === 'function';
}

/** Whether it is a client of node-redis, or BullMQ's wrapper of one. */
export function isNodeRedis(client: RedisClient): boolean {
  const { raw = client } = client as { readonly raw?: RedisClient };
  return typeof raw === 'object' && raw !== null && isEvaluating(raw);
}

type Sender = (command: string, args: string[]) => Promise<unknown>;

/** The function by which a client sends any command, if it has one. */
function sender(client: RedisClient): Sender | undefined {
  const { customCommand, send } = client as Partial<CommandingClient & SendingClient>;
  if (typeof customCommand === 'function') {
    return (command, args) => customCommand.call(client, [command, ...args]);
  }
  return typeof send === 'function' ? (command, args) => send.call(client, command, args) : undefined;
}

function notAClient(given: unknown): TypeError {
  return new TypeError(
    'RedisCache needs a client that can run scripts: one of ioredis (eval, evalsha), node-redis (eval, evalSha), ' +
      `Valkey GLIDE (customCommand) or Bun (send), as in new RedisCache(new Redis(…)); it got ${showClass(given)}`,
  );
}
