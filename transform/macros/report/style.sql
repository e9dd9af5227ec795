{% macro sage_report_style() %}
<style>
:root {
  color-scheme: light dark;
  --page: #f6f7f7; --card: #ffffff; --text: #17211f; --quiet: #5c6b68; --line: #d9dfdd; --head: #eef2f1;
  --accent: #00796b; --negative: #b3261e; --good: #1b6e3c; --good-back: #e3f3e8; --fair: #7a5200; --fair-back: #fdf1d8;
  --bad: #a61b14; --bad-back: #fde7e5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #111716; --card: #1a2221; --text: #e4eae8; --quiet: #9aa9a6; --line: #33403d; --head: #222c2a;
    --accent: #4db6ac; --negative: #ff8a80; --good: #81d39b; --good-back: #17301f; --fair: #f2c46d; --fair-back: #35290f;
    --bad: #ff9d95; --bad-back: #3b1a18;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
header, main { max-width: 1240px; margin: 0 auto; }
h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 0 0 .6rem; font-size: 1.3rem; overflow-wrap: anywhere; }
h3 { margin: 1.6rem 0 .5rem; font-size: 1.05rem; }
header p, .business > p, small, figcaption, .empty { color: var(--quiet); }
header p { margin: .2rem 0 1.2rem; }
section { margin: 0 0 1.2rem; padding: 1.2rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
a { color: var(--accent); }
.scroll { overflow-x: auto; margin: .5rem 0; }
.scroll:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: separate; border-spacing: 0; font-size: .82rem; min-width: 100%; }
th, td { padding: .26rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { background: var(--head); vertical-align: bottom; font-weight: 600; }
tbody th, tfoot th { font-weight: 400; min-width: 9rem; max-width: 22rem; overflow-wrap: anywhere; }
thead th:not(.n) { overflow-wrap: break-word; max-width: 16rem; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.zero { color: var(--quiet); }
tfoot .negative, .figures .negative { color: var(--negative); }
.day { white-space: nowrap; }
.line th { padding-left: 1.2rem; }
.subtotal > *, .total > * { font-weight: 600; }
.total > * { border-top: 1px solid var(--text); background: var(--head); }
.wide th:first-child { position: sticky; left: 0; background: var(--card); }
.wide thead th:first-child, .wide .total th:first-child { background: var(--head); }
.wide td:not(.n) { min-width: 5.5rem; }
.dense table { font-size: .74rem; }
.dense th, .dense td { padding: .24rem .34rem; }
.dense .line th { padding-left: .8rem; }
.business > .scroll table { min-width: min(100%, 34rem); }
.business > .scroll.wide table { min-width: 100%; }
.verdict { margin: 0 0 .8rem; padding: .7rem .9rem; border-radius: 6px; }
.verdict strong { font-size: 1.05rem; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); } .mark.none { color: var(--quiet); }
.verdict.good { background: var(--good-back); } .verdict.fair { background: var(--fair-back); }
.verdict.bad { background: var(--bad-back); }
.mark { white-space: nowrap; font-weight: 600; }
.mark + small { display: inline-block; }
small { font-size: .9em; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem; margin: 1rem 0 0; }
.figures div { padding: .6rem .8rem; background: var(--head); border-radius: 6px; }
.figures dt { color: var(--quiet); font-size: .8rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: .6rem 0 1rem; }
figcaption { font-size: .8rem; margin-bottom: .4rem; }
.bars { display: flex; gap: 3px; max-width: 52rem; }
.bar { flex: 1; min-width: 0; text-align: center; }
.up { display: flex; align-items: flex-end; border-bottom: 1px solid var(--quiet); }
.down { display: flex; align-items: flex-start; }
.bar i { display: block; width: 100%; background: var(--accent); border-radius: 2px 2px 0 0; }
.down i { background: var(--negative); border-radius: 0 0 2px 2px; }
.bar b, .bar span { display: block; font-size: .7rem; font-weight: 400; }
.bar b { font-variant-numeric: tabular-nums; }
.bar span { color: var(--quiet); }
@media (max-width: 40rem) {
  body { padding: .6rem; }
  section { padding: .8rem; }
  .wide th:first-child { max-width: 9.5rem; }
  th, td { padding: .26rem .34rem; }
  .bar b { display: none; }
}
@media print {
  :root {
    --page: #ffffff; --card: #ffffff; --text: #000000; --quiet: #4a4a4a; --line: #cccccc; --head: #f0f0f0;
    --accent: #00796b; --negative: #a61b14; --good: #1b6e3c; --good-back: #ffffff; --fair: #7a5200;
    --fair-back: #ffffff; --bad: #a61b14; --bad-back: #ffffff;
  }
  @page { size: A4 landscape; margin: 12mm; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { padding: 0; font-size: 9pt; }
  h3 { margin-top: 5mm; }
  section { border: 0; padding: 0; }
  .business { break-before: page; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; }
  .wide td:not(.n) { min-width: 5.5rem; }
.dense table { font-size: 6.5pt; }
  th, td, .dense th, .dense td { padding: .6mm 1mm; }
  tbody th, tfoot th { min-width: 32mm; overflow-wrap: break-word; }
  .wide th:first-child { position: static; }
  .wide td:not(.n) { min-width: 0; }
  tr, figure, .figures { break-inside: avoid; }
  h2, h3, figcaption { break-after: avoid; }
  thead { display: table-header-group; }
  tfoot { display: table-row-group; }
}
</style>
{% endmacro %}
