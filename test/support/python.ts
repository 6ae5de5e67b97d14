/** Debian's Python with its Redis client, for the workers in Python. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from './index.ts';
import { aptInstall, onPath } from './redis-server.ts';

const FOLDER = fileURLToPath(new URL('../../examples/python/', import.meta.url));
const CHOICES = `No Python with the package redis was found. Choose one:
  - install it (Debian, Ubuntu: apt-get install python3-redis; elsewhere: pip install redis)
  - run this as root on Debian or Ubuntu: the package is installed for you`;

let found: string | undefined;

function findPython(): string {
  found ??= pythonWithRedis() ?? installPython();
  return found;
}

/** Debian's own is another one than the first on the PATH where there are several. */
function pythonWithRedis(): string | undefined {
  const all = [onPath('python3'), '/usr/bin/python3'].filter(path => path !== undefined);
  return all.find(python => {
    try {
      execFileSync(python, ['-c', 'import redis'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

function installPython(): string {
  aptInstall('python3-redis', CHOICES);
  const installed = pythonWithRedis();
  if (!installed) throw new Error(CHOICES);
  return installed;
}

/** Runs a program in the folder of the examples in Python. */
export function runPython(program: string): string {
  return execFileSync(findPython(), ['-B', '-c', program], { cwd: FOLDER, encoding: 'utf8' });
}

/** A process of `examples/python/worker.py`. */
export class PythonWorker {
  output = '';
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown>;

  constructor(...args: (string | number)[]) {
    const command = ['-B', 'worker.py', ...args.map(String)];
    this.#process = spawn(findPython(), command, { cwd: FOLDER, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process.stdout?.on('data', chunk => {
      this.output += chunk;
    });
    this.#exit = once(this.#process, 'close');
  }

  /** Waits until it has printed something. */
  async prints(words: string): Promise<void> {
    await until(
      () => this.output.includes(words),
      `'${words}' from worker.py, which printed: ${this.output}`,
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit;
  }

  /** All that it has printed, once it has ended. */
  async ended(): Promise<string> {
    await this.#exit;
    return this.output;
  }
}
