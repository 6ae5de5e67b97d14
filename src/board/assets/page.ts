/** The page. Everything that it shows is written into it as text, and it loads nothing but its own files. */

import { LISTED_STATES } from '../../admin/lock-admin.ts';
import { MAX_TEXT } from '../lock-search.ts';

const STATES = LISTED_STATES.map(state => `<option>${state}</option>`).join('');

/** @param title - any text; it is escaped. */
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
<form id="search" role="search">
<select id="state" aria-label="State"><option value="">all states</option>${STATES}</select>
<select id="source" aria-label="Queue or cache" hidden><option value="">all queues</option></select>
<input id="filter" type="search" maxlength="${MAX_TEXT}" placeholder="Key, queue or holder" aria-label="Search">
</form>
</header>
<main>
<div id="problem" role="alert" hidden></div>
<table>
<thead>
<tr><th>Key</th><th>Queue or scope</th><th>Holder</th><th>Held for</th><th>Expires in</th>
<th><span class="visually-hidden">Action</span></th></tr>
</thead>
<tbody id="locks"></tbody>
<tbody id="fold" hidden><tr><td colspan="6"><button id="unfold" aria-expanded="false" aria-controls="done"></button></td></tr></tbody>
<tbody id="done" hidden></tbody>
</table>
<nav id="pages" aria-label="Pages" hidden>
<button id="previous">Previous</button> <span id="page"></span> <button id="next">Next</button>
</nav>
<p id="no-locks" hidden></p>
<section aria-labelledby="outcomes-title">
<h2 id="outcomes-title">Duplicates in the last hour</h2>
<p id="legend"></p>
<div id="outcomes" role="img" aria-label="Duplicates over time"></div>
</section>
<section aria-labelledby="duplicates-title">
<div class="title">
<h2 id="duplicates-title">Why did a job not run?</h2>
<input id="job" type="search" placeholder="The id of a job" aria-label="The id of a job">
</div>
<ol id="duplicates"></ol>
<p id="no-duplicates" class="quiet" hidden></p>
</section>
</main>
<footer class="quiet">What to do about what you see: <code>docs/troubleshooting.md</code> in the package bullmq-once.</footer>
<dialog id="confirm">
<form method="dialog">
<p>Force release <strong id="confirm-key"></strong>, held by <strong id="confirm-holder"></strong>?</p>
<p class="quiet">Other jobs can acquire the key at once. If its holder is still running, its signal aborts at its next renewal;
until then two jobs may run.</p>
<menu><button value="no">Cancel</button><button value="yes" class="danger">Force release</button></menu>
</form>
</dialog>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, char => `&#${char.charCodeAt(0)};`);
}
