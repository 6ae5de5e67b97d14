/**
 * The script of the page. It asks the board for the locks every two seconds, counts the time in between by itself, and writes
 * nothing into the page but text.
 */

import { OUTCOMES } from '../../events/events.ts';

export const SCRIPT: string = `'use strict';
(() => {
  const REFRESH_MS = 2000;
  const TICK_MS = 250;
  /** Who types is not finished yet. */
  const TYPING_MS = 250;
  /** What came of a force release is shown for so long. */
  const NOTICE_MS = 15000;
  const OUTCOMES = ${JSON.stringify(OUTCOMES)};
  const STATES = { reserved: 'reserved for its next run (holdThroughRetries)', done: 'done, still held (dedupeFor)', foreign: 'a value that no lock wrote' };

  const byId = id => document.getElementById(id);
  const filter = byId('filter');
  const state = byId('state');
  const source = byId('source');
  const job = byId('job');
  const dialog = byId('confirm');

  /** The last answer of the board, and when it came. */
  let shown;
  let shownAt = 0;
  /** Why a force release failed. */
  let notice = '';
  let noticeTimer;
  let problemsShown = '';
  /** Whether the locks of work that was done are shown. */
  let isUnfolded = false;
  /** Which part of the list is wanted. */
  let page = 1;
  let typing;
  /** The row of each lock. */
  const rows = new Map();
  /** The longest time left that was seen of each acquisition: its bar is full then. */
  const longestLeft = new Map();

  filter.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING_MS);
  });
  for (const choice of [state, source]) choice.addEventListener('change', search);
  byId('search').addEventListener('submit', event => event.preventDefault());
  byId('previous').addEventListener('click', () => turnTo(shown.page - 1));
  byId('next').addEventListener('click', () => turnTo(shown.page + 1));
  byId('unfold').addEventListener('click', () => {
    isUnfolded = !isUnfolded;
    if (shown) draw();
  });
  job.addEventListener('input', () => shown && refreshDuplicates());
  setInterval(tick, TICK_MS);
  refreshForEver();

  async function refreshForEver() {
    for (;;) {
      if (!document.hidden) await refresh();
      await new Promise(resolve => setTimeout(resolve, REFRESH_MS));
    }
  }

  function search() {
    turnTo(1);
  }

  function turnTo(wanted) {
    page = wanted;
    refresh();
  }

  function query() {
    return new URLSearchParams({ text: filter.value.trim(), state: state.value, source: source.value, page }).toString();
  }

  function isSearching() {
    return [filter, state, source].some(({ value }) => value !== '');
  }

  async function refresh() {
    const asked = query();
    try {
      const response = await fetch('api/locks?' + asked, { headers: { accept: 'application/json' } });
      const answer = await response.json();
      // Something else is wanted by now.
      if (query() !== asked) return;
      if (!response.ok) throw new Error(answer.problem);
      page = answer.page;
      shown = answer;
      shownAt = performance.now();
      draw();
      await refreshDuplicates();
    } catch (error) {
      showProblems('The locks could not be read: ' + error.message);
    }
  }

  /** The last duplicates, or those of the job that is looked for. */
  async function refreshDuplicates() {
    const wanted = job.value.trim();
    const found = wanted === '' ? shown.duplicates : await duplicatesOf(wanted);
    if (job.value.trim() !== wanted) return;
    byId('duplicates').replaceChildren(...found.map(duplicateItem));
    byId('no-duplicates').hidden = found.length > 0;
    byId('no-duplicates').textContent =
      wanted === '' ? 'No duplicate was noted in the last week.' : 'No job ' + wanted + ' is among the last thousand duplicates of a queue.';
  }

  async function duplicatesOf(jobId) {
    const response = await fetch('api/duplicates/' + encodeURIComponent(jobId), { headers: { accept: 'application/json' } });
    return response.ok ? (await response.json()).duplicates : [];
  }

  function duplicateItem(duplicate) {
    const item = element('li', duplicate.outcome);
    item.append(
      element('time', 'quiet', new Date(duplicate.at).toLocaleString()),
      linkTo(duplicate.url, duplicate.name),
      element('span', '', duplicate.text),
    );
    return item;
  }

  function draw() {
    const { locks, isCut, problems, sources } = shown;
    drawSources(sources);
    drawLocks(locks);
    drawPages();
    // A queue whose locks are not known may have some.
    const mayBeMore = isCut || problems.length > 0;
    byId('no-locks').textContent = isSearching() ? 'No lock matches the search.' : 'No locks are held.';
    byId('no-locks').hidden = locks.length > 0 || mayBeMore;
    byId('summary').textContent = summary(mayBeMore);
    drawOutcomes(shown.outcomes);
    showProblems(...problems);
    tick();
  }

  function summary(mayBeMore) {
    const { count, isCut } = shown;
    if (isCut) return 'the first ' + count + ' locks; there are more: search for some';
    return count + (mayBeMore ? ' or more' : '') + (count === 1 ? ' lock' : ' locks');
  }

  function drawSources(labels) {
    source.hidden = labels.length < 2;
    if (source.options.length === 1) source.append(...labels.map(label => new Option(label, label)));
  }

  function drawPages() {
    byId('pages').hidden = shown.pages === 1;
    byId('page').textContent = 'page ' + shown.page + ' of ' + shown.pages;
    byId('previous').disabled = shown.page === 1;
    byId('next').disabled = shown.page === shown.pages;
  }

  function drawLocks(locks) {
    const focusedKey = document.activeElement?.closest('tr')?.dataset.key;
    rows.clear();
    for (const lock of locks) rows.set(lock, rowOf(lock));
    const inOrder = [...rows.values()];
    const done = [...rows].filter(([lock]) => lock.state === 'done').map(([, row]) => row);
    byId('locks').replaceChildren(...inOrder.filter(row => !done.includes(row)));
    byId('done').replaceChildren(...done);
    byId('fold').hidden = done.length === 0;
    // Who looks for something wants to see it.
    const isOpen = isUnfolded || isSearching();
    byId('done').hidden = !isOpen;
    byId('unfold').textContent = (isOpen ? 'Hide ' : 'Show ') + done.length + ' of work that was done (dedupeFor)';
    byId('unfold').setAttribute('aria-expanded', String(isOpen));
    inOrder.find(row => row.dataset.key === focusedKey)?.querySelector('button')?.focus();
    const live = new Set(locks.map(acquisitionOf));
    for (const acquisition of longestLeft.keys()) if (!live.has(acquisition)) longestLeft.delete(acquisition);
  }

  function rowOf(lock) {
    const row = element('tr');
    row.dataset.key = acquisitionOf(lock);
    const holder = element('td', 'holder');
    holder.append(linkTo(lock.holderUrl, lock.holderName));
    if (lock.state in STATES) holder.append(element('div', 'state', STATES[lock.state]));
    if (lock.lineText !== undefined) holder.append(element('div', 'state line', lock.lineText));
    if (lock.resultText !== undefined) holder.append(element('div', 'state result', lock.resultText));
    const place = element('td', 'place', lock.place);
    if (lock.cache !== undefined) place.append(element('div', 'state', 'in ' + lock.cache));
    const bar = element('div', 'bar');
    bar.append(element('i'));
    const expiresIn = element('td', 'expires-in');
    expiresIn.append(element('span', 'time'), bar);
    const action = element('td', 'action');
    if (shown.allowForceRelease && lock.state !== 'foreign') action.append(releaseButton(lock));
    row.append(
      element('td', 'key', lock.key),
      place,
      holder,
      element('td', 'held-for'),
      expiresIn,
      action,
    );
    return row;
  }

  function releaseButton(lock) {
    const button = element('button', '', 'Force release');
    button.addEventListener('click', () => forceRelease(lock));
    return button;
  }

  /** Updates the times and bars. */
  function tick() {
    if (!shown) return;
    const passed = performance.now() - shownAt;
    for (const [lock, row] of rows) {
      const age = lock.since > 0 ? duration(shown.now + passed - lock.since) : '';
      row.querySelector('.held-for').textContent = age;
      // A lock that never expires has no expiresIn.
      const left = lock.expiresIn === undefined ? undefined : Math.max(lock.expiresIn - passed, 0);
      const part = partLeft(lock, left);
      row.querySelector('.time').textContent = timeLeft(lock, left, passed);
      row.querySelector('.bar').hidden = lock.dueIn !== undefined;
      row.querySelector('.time').classList.toggle('never', left === undefined);
      row.querySelector('.bar').classList.toggle('low', part < 0.25);
      row.querySelector('.bar > i').style.width = (part * 100).toFixed(1) + '%';
    }
  }

  /** Of a reservation, when the next run of its job is due. */
  function timeLeft(lock, left, passed) {
    if (lock.dueIn !== undefined) {
      const due = lock.dueIn - passed;
      return due > 0 ? 'next run in ' + duration(due) : 'next run is due';
    }
    return left === undefined ? 'never' : duration(left);
  }

  function partLeft(lock, left) {
    if (left === undefined) return 1;
    const acquisition = acquisitionOf(lock);
    const longest = Math.max(longestLeft.get(acquisition) ?? 0, lock.expiresIn);
    longestLeft.set(acquisition, longest);
    return longest > 0 ? left / longest : 0;
  }

  function drawOutcomes(counts) {
    const sum = count => OUTCOMES.reduce((total, outcome) => total + count[outcome], 0);
    const highest = Math.max(...counts.map(sum), 1);
    byId('outcomes').replaceChildren(...counts.map(count => {
      const column = element('div');
      column.title = new Date(count.at).toLocaleTimeString() + ': ' + sum(count);
      for (const outcome of OUTCOMES.filter(outcome => count[outcome] > 0)) {
        const part = element('i', outcome);
        part.style.height = (count[outcome] / highest) * 100 + '%';
        column.append(part);
      }
      return column;
    }));
    byId('legend').replaceChildren(...OUTCOMES.map(outcome => {
      const total = counts.reduce((total, count) => total + count[outcome], 0);
      return element('span', outcome, outcome + ' ' + total);
    }));
  }

  async function forceRelease(lock) {
    if (!(await isConfirmed(lock))) return;
    setNotice('');
    const problem = await requestForceRelease(lock);
    if (problem) setNotice("'" + lock.key + "': " + problem);
    await refresh();
  }

  function setNotice(text) {
    notice = text;
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => {
      notice = '';
      if (shown) draw();
    }, NOTICE_MS);
  }

  async function isConfirmed(lock) {
    byId('confirm-key').textContent = lock.key;
    byId('confirm-holder').textContent = lock.holderName;
    dialog.returnValue = '';
    dialog.showModal();
    await new Promise(resolve => dialog.addEventListener('close', resolve, { once: true }));
    return dialog.returnValue === 'yes';
  }

  /** Returns why the lock was not released, if it was not. */
  async function requestForceRelease({ source, storedKey, fence }) {
    try {
      const response = await fetch('api/force-release', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ source, storedKey, fence }),
      });
      if (response.ok) return undefined;
      const { problem } = await response.json().catch(() => ({ problem: response.statusText }));
      return problem;
    } catch (error) {
      return error.message;
    }
  }

  function showProblems(...problems) {
    const texts = notice ? [notice, ...problems] : problems;
    // What stays the same is announced once.
    if (texts.join() === problemsShown) return;
    problemsShown = texts.join();
    byId('problem').replaceChildren(...texts.map(text => element('div', '', text)));
    byId('problem').hidden = texts.length === 0;
  }

  function acquisitionOf(lock) {
    return lock.source + ' ' + lock.storedKey + ' ' + lock.fence;
  }

  /** The name of a job, which leads to its page where there is one. */
  function linkTo(url, name) {
    const created = element(url === undefined ? 'span' : 'a', 'name', name);
    if (url !== undefined) created.href = url;
    return created;
  }

  function element(name, className, text) {
    const created = document.createElement(name);
    if (className) created.className = className;
    if (text !== undefined) created.textContent = text;
    return created;
  }

  function duration(ms) {
    const seconds = Math.max(Math.floor(ms / 1000), 0);
    if (seconds < 60) return seconds + ' s';
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return minutes + ' min ' + (seconds % 60) + ' s';
    return Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' min';
  }
})();
`;
