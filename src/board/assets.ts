/** What a browser is given. It writes nothing into the page but text, and asks nobody but the server that it came from. */

/** The page. @param title - written as text. */
export function page(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<link rel="stylesheet" href="board.css">
<script src="board.js" defer></script>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p id="summary" role="status">…</p>
<input id="filter" type="search" placeholder="Filter by key, queue or holder" aria-label="Filter">
</header>
<main>
<p id="problem" role="alert" hidden></p>
<table>
<thead><tr><th>Key</th><th>Of</th><th>Holder</th><th>Since</th><th>Left</th><th><span class="unseen">Action</span></th></tr></thead>
<tbody id="locks"></tbody>
</table>
<p id="nothing" hidden>No locks are held.</p>
<section aria-labelledby="fates-title">
<h2 id="fates-title">Duplicates in the last half hour</h2>
<p id="legend"></p>
<div id="fates" role="img" aria-label="Duplicates over time"></div>
</section>
</main>
<dialog id="ask">
<form method="dialog">
<p>Let go of <strong id="ask-key"></strong>?</p>
<p class="quiet">Others are let in at once. A holder that lives is told by its next renewal; until then two may run.</p>
<menu><button value="no">Cancel</button><button value="yes" class="danger">Let go</button></menu>
</form>
</dialog>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, char => `&#${char.charCodeAt(0)};`);
}

export const STYLE = `
:root { --back: #fbfbfa; --card: #fff; --line: #e3e2de; --text: #1f1e1b; --quiet: #6b6962; --accent: #2f6f4f; --low: #b3541e;
  --danger: #a32a1d; --skipped: #4b7bab; --raised: #a32a1d; --retried: #c08a2d; --kept: #6d5aa8; }
@media (prefers-color-scheme: dark) {
  :root { --back: #191918; --card: #222221; --line: #37362f; --text: #ecebe6; --quiet: #a09d93; --accent: #6fbf93; --low: #e08a55;
    --danger: #f0796b; --skipped: #7fb0e0; --raised: #f0796b; --retried: #e0b45c; --kept: #a996e6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.4rem; }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; }
#summary, .quiet, #legend { color: var(--quiet); margin: 0; }
#filter { margin-left: auto; min-width: 16rem; padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card); color: inherit; font: inherit; }
#problem { padding: .6rem .8rem; border: 1px solid var(--danger); border-radius: .4rem; color: var(--danger); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--quiet); font-size: .85rem; }
td.key { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
td.of, td.holder { overflow-wrap: anywhere; }
td.since { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.left { min-width: 9rem; font-variant-numeric: tabular-nums; }
.bar { height: .35rem; border-radius: .2rem; background: var(--line); overflow: hidden; margin-top: .25rem; }
.bar > i { display: block; height: 100%; background: var(--accent); }
.bar.low > i { background: var(--low); }
.state { color: var(--quiet); font-size: .85rem; }
button { font: inherit; padding: .3rem .7rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card);
  color: inherit; cursor: pointer; }
button:hover { border-color: var(--quiet); }
button.danger, td button { color: var(--danger); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
#fates { display: flex; align-items: flex-end; gap: 2px; height: 7rem; margin-top: .5rem; border-bottom: 1px solid var(--line); }
#fates > div { flex: 1; display: flex; flex-direction: column-reverse; height: 100%; }
#fates i { display: block; }
.skipped { background: var(--skipped); } .raised { background: var(--raised); }
.retried { background: var(--retried); } .kept { background: var(--kept); }
#legend span::before { content: ''; display: inline-block; width: .7em; height: .7em; border-radius: .15em; margin: 0 .35em 0 0; background: var(--of); }
#legend span { margin-right: 1rem; }
#legend .skipped, #legend .raised, #legend .retried, #legend .kept { background: none; }
#legend .skipped { --of: var(--skipped); } #legend .raised { --of: var(--raised); }
#legend .retried { --of: var(--retried); } #legend .kept { --of: var(--kept); }
dialog { border: 1px solid var(--line); border-radius: .6rem; background: var(--card); color: inherit; max-width: 28rem; }
dialog::backdrop { background: rgb(0 0 0 / .4); }
menu { display: flex; justify-content: flex-end; gap: .5rem; padding: 0; margin: 1rem 0 0; }
.unseen { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
@media (max-width: 44rem) {
  #filter { width: 100%; margin: 0; }
  thead { display: none; }
  table, tbody, tr, td { display: block; width: 100%; }
  table { border: 0; background: none; }
  tr { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin-bottom: .6rem; }
  td { border: 0; padding: .1rem 0; }
  td.key { font-weight: 600; }
  td.since::before { content: 'since '; color: var(--quiet); }
  td.action { padding-top: .4rem; }
}
`;

export const SCRIPT = `'use strict';
(() => {
  const EVERY = 2000;
  const FATES = { skipped: 'skipped', raised: 'failed', retried: 'put off', kept: 'kept as the newest' };
  const find = id => document.getElementById(id);
  const [summary, filter, problem, body, nothing, ask] =
    ['summary', 'filter', 'problem', 'locks', 'nothing', 'ask'].map(find);
  let shown;
  let seenAt = 0;
  /** The longest time left that was seen of each taking: its bar is full then. */
  const fullOf = new Map();

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function duration(ms) {
    if (ms === undefined) return 'for ever';
    const seconds = Math.max(Math.floor(ms / 1000), 0);
    if (seconds < 60) return seconds + ' s';
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return minutes + ' min ' + (seconds % 60) + ' s';
    return Math.floor(minutes / 60) + ' h ' + (minutes % 60) + ' min';
  }

  const placeOf = lock => lock.queue ?? (lock.scope === undefined ? '' : 'scope ' + lock.scope);
  const holderOf = lock => (lock.jobId === undefined ? lock.owner : 'job ' + lock.jobId);
  const idOf = lock => lock.source + ' ' + lock.storedKey + ' ' + lock.fence;

  function rowOf(lock) {
    const row = element('tr');
    row.dataset.key = lock.storedKey;
    const holder = element('td', 'holder', holderOf(lock) || 'not a lock');
    if (lock.state === 'done') holder.append(element('div', 'state', 'done, kept'));
    const left = element('td', 'left');
    const bar = element('div', 'bar');
    bar.append(element('i'));
    left.append(element('span', 'time'), bar);
    const action = element('td', 'action');
    if (!shown.readOnly && lock.state !== 'foreign') {
      const button = element('button', '', 'Let go');
      button.addEventListener('click', () => release(lock));
      action.append(button);
    }
    row.append(
      element('td', 'key', lock.key),
      element('td', 'of', placeOf(lock)),
      holder,
      element('td', 'since'),
      left,
      action,
    );
    return row;
  }

  /** What changes by itself. */
  function tick() {
    if (!shown) return;
    const passed = performance.now() - seenAt;
    shown.locks.forEach(lock => {
      const row = lock.row;
      if (!row) return;
      const left = lock.expiresIn === undefined ? undefined : Math.max(lock.expiresIn - passed, 0);
      const full = Math.max(fullOf.get(idOf(lock)) ?? 0, lock.expiresIn ?? 0);
      fullOf.set(idOf(lock), full);
      const part = left === undefined ? 1 : full > 0 ? left / full : 0;
      row.querySelector('.since').textContent = lock.since > 0 ? duration(shown.now + passed - lock.since) : '';
      row.querySelector('.time').textContent = duration(left);
      row.querySelector('.bar').classList.toggle('low', part < 0.25);
      row.querySelector('.bar > i').style.width = (part * 100).toFixed(1) + '%';
    });
  }

  function draw() {
    const wanted = filter.value.toLowerCase();
    const meant = lock => [lock.key, placeOf(lock), holderOf(lock)].some(text => text.toLowerCase().includes(wanted));
    const focused = document.activeElement?.closest('tr')?.dataset.key;
    const rows = shown.locks.filter(meant).map(lock => (lock.row = rowOf(lock)));
    shown.locks.filter(lock => !meant(lock)).forEach(lock => { lock.row = undefined; });
    body.replaceChildren(...rows);
    rows.find(row => row.dataset.key === focused)?.querySelector('button')?.focus();
    nothing.hidden = shown.locks.length > 0;
    summary.textContent = shown.locks.length + (shown.isCut ? ' or more' : '') + (shown.locks.length === 1 ? ' lock' : ' locks');
    const live = new Set(shown.locks.map(idOf));
    for (const id of fullOf.keys()) if (!live.has(id)) fullOf.delete(id);
    drawFates();
    tell(shown.problems.join('; '));
    tick();
  }

  function drawFates() {
    const sum = count => Object.keys(FATES).reduce((all, fate) => all + count[fate], 0);
    const most = Math.max(...shown.fates.map(sum), 1);
    find('fates').replaceChildren(...shown.fates.map(count => {
      const column = element('div');
      column.title = new Date(count.at).toLocaleTimeString() + ': ' + sum(count);
      for (const fate of Object.keys(FATES)) {
        if (count[fate] === 0) continue;
        const part = element('i', fate);
        part.style.height = (count[fate] / most) * 100 + '%';
        column.append(part);
      }
      return column;
    }));
    find('legend').replaceChildren(...Object.entries(FATES).map(([fate, words]) =>
      element('span', fate, words + ' ' + shown.fates.reduce((all, count) => all + count[fate], 0))));
  }

  function tell(text) {
    problem.textContent = text;
    problem.hidden = text === '';
  }

  async function look() {
    try {
      const response = await fetch('api/locks', { headers: { accept: 'application/json' } });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.problem);
      shown = answer;
      seenAt = performance.now();
      draw();
    } catch (error) {
      tell('The locks could not be looked at: ' + error.message);
    }
  }

  async function release(lock) {
    find('ask-key').textContent = lock.key;
    ask.returnValue = '';
    ask.showModal();
    await new Promise(resolve => ask.addEventListener('close', resolve, { once: true }));
    if (ask.returnValue !== 'yes') return;
    const response = await fetch('api/release', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ source: lock.source, storedKey: lock.storedKey, fence: lock.fence }),
    });
    const answer = await response.json().catch(() => ({ problem: response.statusText }));
    await look();
    if (!response.ok) tell("'" + lock.key + "' was not let go of: " + answer.problem);
  }

  filter.addEventListener('input', () => shown && draw());
  setInterval(tick, 250);
  (async () => {
    for (;;) {
      if (!document.hidden) await look();
      await new Promise(resolve => setTimeout(resolve, EVERY));
    }
  })();
})();
`;
