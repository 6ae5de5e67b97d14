/** The style of the page, in a light and a dark scheme, for wide and for narrow screens. */

import { OUTCOMES, type Outcome } from '../../events/events.ts';

/** The colour of each outcome in the light and in the dark scheme. */
const COLORS: Record<Outcome, { readonly light: string; readonly dark: string }> = {
  skipped: { light: '#4b7bab', dark: '#7fb0e0' },
  raised: { light: '#a32a1d', dark: '#f0796b' },
  delayed: { light: '#c08a2d', dark: '#e0b45c' },
  parked: { light: '#6d5aa8', dark: '#a996e6' },
  shared: { light: '#2f6f4f', dark: '#6fbf93' },
  mismatched: { light: '#b3541e', dark: '#e08a55' },
  handled: { light: '#2b7f86', dark: '#63bdc4' },
};

function outcomeColors(scheme: 'light' | 'dark'): string {
  return OUTCOMES.map(outcome => `--${outcome}: ${COLORS[outcome][scheme]};`).join(' ');
}

export const STYLE: string = `
:root { --back: #fbfbfa; --card: #fff; --line: #e3e2de; --text: #1f1e1b; --quiet: #6b6962; --accent: #2f6f4f; --low: #b3541e;
  --danger: #a32a1d; ${outcomeColors('light')} }
@media (prefers-color-scheme: dark) {
  :root { --back: #191918; --card: #222221; --line: #37362f; --text: #ecebe6; --quiet: #a09d93; --accent: #6fbf93; --low: #e08a55;
    --danger: #f0796b; ${outcomeColors('dark')} }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline; margin-bottom: 1rem; }
h1 { margin: 0; font-size: 1.4rem; }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; }
#summary, .quiet, #legend { color: var(--quiet); margin: 0; }
#search { display: flex; flex-wrap: wrap; gap: .5rem; margin-left: auto; }
#filter { flex: 1; min-width: 14rem; }
#search > * { padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: inherit;
  font: inherit; max-width: 100%; }
#pages { display: flex; gap: .75rem; align-items: baseline; justify-content: flex-end; margin-top: .75rem; color: var(--quiet); }
button:disabled { color: var(--quiet); cursor: default; opacity: .6; }
footer.quiet { margin-top: 2.5rem; font-size: .85rem; }
#problem { margin-bottom: 1rem; overflow-wrap: anywhere; padding: .6rem .8rem; border: 1px solid var(--danger); border-radius: .4rem; color: var(--danger); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { text-align: left; padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--quiet); font-size: .85rem; white-space: nowrap; }
td.key { min-width: 12rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
td.place, td.holder { overflow-wrap: anywhere; }
td.held-for { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.expires-in { min-width: 9rem; font-variant-numeric: tabular-nums; }
.bar { height: .35rem; border-radius: .2rem; background: var(--line); overflow: hidden; margin-top: .25rem; }
.bar > i { display: block; height: 100%; background: var(--accent); }
.bar.low > i { background: var(--low); }
.state { color: var(--quiet); font-size: .85rem; }
button { font: inherit; padding: .3rem .7rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card);
  color: inherit; cursor: pointer; }
button:hover { border-color: var(--quiet); }
button.danger, .action button { color: var(--danger); white-space: nowrap; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
#outcomes { display: flex; align-items: flex-end; gap: 2px; height: 7rem; margin-top: .5rem;
  border-bottom: 1px solid var(--line); }
#outcomes > div { flex: 1; display: flex; flex-direction: column-reverse; height: 100%; }
#outcomes i { display: block; background: var(--color); }
#legend span { display: inline-block; margin-right: 1rem; white-space: nowrap; }
#legend span::before { content: ''; display: inline-block; width: .7em; height: .7em; border-radius: .15em; margin-right: .35em;
  background: var(--color); }
${OUTCOMES.map(outcome => `.${outcome} { --color: var(--${outcome}); }`).join('\n')}
.title { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline; justify-content: space-between; margin-top: 2rem; }
.title h2 { margin: 0; }
#job { min-width: 10rem; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); color: inherit;
  font: inherit; }
#duplicates { list-style: none; margin: .5rem 0 0; padding: 0; }
#duplicates li { display: flex; flex-wrap: wrap; gap: 0 .75rem; padding: .3rem .6rem; border-left: .25rem solid var(--color);
  margin-bottom: .25rem; background: var(--card); overflow-wrap: anywhere; }
a { color: inherit; }
#duplicates .name { font-weight: 600; }
#duplicates li > * { min-width: 0; }
#duplicates time { white-space: nowrap; font-variant-numeric: tabular-nums; }
dialog { border: 1px solid var(--line); border-radius: .6rem; background: var(--card); color: inherit;
  max-width: min(28rem, calc(100% - 2rem)); overflow-wrap: anywhere; }
dialog::backdrop { background: rgb(0 0 0 / .4); }
menu { display: flex; justify-content: flex-end; gap: .5rem; padding: 0; margin: 1rem 0 0; }
.visually-hidden { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
@media (max-width: 56rem) {
  #search { width: 100%; margin: 0; }
  #filter { flex-basis: 100%; }
  thead { display: none; }
  table, tbody, tr, td { display: block; width: 100%; }
  table { border: 0; background: none; }
  tr { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin-bottom: .6rem; }
  td { border: 0; padding: .1rem 0; }
  td.key { font-weight: 600; }
  td.held-for:not(:empty)::before { content: 'held for '; color: var(--quiet); }
  .time::before { content: 'expires in '; color: var(--quiet); }
  .time.never::before { content: 'expires '; }
  td.action { padding-top: .4rem; }
}
`;
