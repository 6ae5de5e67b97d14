/**
 * The wall clock of a server that was started with {@link ServerClock.env}. A small library, compiled here, is loaded before the C library:
 * it adds so many seconds to the time as a shared file says. The monotonic clock stays what it is.
 */

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onPath } from '../support/redis-server.ts';

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t none = 0;
static volatile int64_t *ahead = &none;

__attribute__((constructor)) static void open_clock(void) {
  const char *file = getenv("SERVER_CLOCK");
  int fd = file ? open(file, O_RDONLY) : -1;
  void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (shared != MAP_FAILED) ahead = shared;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int result = real(now, zone);
  if (result == 0) now->tv_sec += *ahead;
  return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += *ahead;
  return result;
}

time_t time(time_t *result) {
  struct timeval now;
  gettimeofday(&now, NULL);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
`;

export class ServerClock {
  /** Whether a library can be compiled here, and is loaded. */
  static get isAvailable(): boolean {
    return process.platform === 'linux' && onPath('gcc') !== undefined;
  }

  readonly #folder: string = mkdtempSync(join(tmpdir(), 'bullmq-once-clock-'));
  readonly #file: string = join(this.#folder, 'ahead');
  readonly #library: string = join(this.#folder, 'clock.so');

  constructor() {
    const source = join(this.#folder, 'clock.c');
    writeFileSync(source, SOURCE);
    execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', this.#library, source, '-ldl']);
    writeFileSync(this.#file, Buffer.alloc(8));
  }

  /** The environment of the server. */
  get env(): NodeJS.ProcessEnv {
    return { LD_PRELOAD: this.#library, SERVER_CLOCK: this.#file };
  }

  /** @param seconds - by how much it is ahead from now on; negative: behind. */
  set(seconds: number): void {
    const ahead = Buffer.alloc(8);
    ahead.writeBigInt64LE(BigInt(seconds));
    // In place: the server has mapped the file.
    const file = openSync(this.#file, 'r+');
    writeSync(file, ahead, 0, ahead.length, 0);
    closeSync(file);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
