/** The version of this package. */

import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  // This file is in dist/esm/cli, or in src/cli.
  for (const path of ['../../../package.json', '../../package.json']) {
    const { name, version } = readJson(new URL(path, import.meta.url));
    if (name === 'bullmq-once' && version) return version;
  }
  return 'unknown';
}

function readJson(url: URL): { name?: string; version?: string } {
  try {
    return JSON.parse(readFileSync(url, 'utf8'));
  } catch {
    return {};
  }
}
