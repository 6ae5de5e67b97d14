/** A real browser: Debian's chromium, or any that is on the PATH. */

import { type Browser, chromium } from 'playwright-core';
import { aptInstall, onPath } from './redis-server.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const CHOICES = `No browser was found. Choose one:
  - put chromium or google-chrome on the PATH (Debian, Ubuntu: apt-get install chromium)
  - run this as root on Debian or Ubuntu: the package is installed for you`;

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: findBrowser(),
    // Root has no sandbox, and containers have little shared memory.
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
}

function findBrowser(): string {
  const find = () => NAMES.map(onPath).find(path => path !== undefined);
  const found = find();
  if (found) return found;
  aptInstall('chromium', CHOICES);
  const installed = find();
  if (!installed) throw new Error(CHOICES);
  return installed;
}
