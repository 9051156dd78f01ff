/*
 * page.c
 *		A page of HTML that needs nothing but itself: no script, no network.
 *
 * It is ASCII, so no encoding can break it.
 */
#include "postgres.h"

#include "base/markup.h"
#include "plot/page.h"
#include "plot/svg.h"

static const char page_style[] =
":root{color-scheme:light dark;--fg:#1b1f24;--muted:#57606a;--bg:#fff;--line:#d0d7de;--box:#f6f8fa;--link:#0b62c4}\n"
"*{box-sizing:border-box}\n"
"body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}\n"
"main{max-width:1440px;margin:0 auto;padding:20px}\n"
"h1{font-size:1.6em;margin:0 0 8px;overflow-wrap:anywhere}h2{font-size:1.25em;margin:32px 0 10px}h3{font-size:1.08em;margin:24px 0 8px}\n"
"p{margin:6px 0;overflow-wrap:anywhere}a{color:var(--link)}.muted{color:var(--muted)}\n"
".badge{display:inline-block;padding:1px 10px;border-radius:5px;background:#57606a;color:#fff;font-weight:700;text-transform:uppercase;letter-spacing:.03em;white-space:nowrap}\n"
".badge.pass,.badge.healthy{background:#11703d}.badge.fail,.badge.exhausted{background:#b3161d}\n"
".badge.invalid,.badge.warning{background:#8a5a00}.badge.critical{background:#a8410b}.badge.running{background:#0b62c4}\n"
".reason{border-left:4px solid var(--line);padding:2px 12px;margin:10px 0}\n"
".fail .reason,.reason.fail,.reason.exhausted{border-color:#b3161d}.reason.invalid,.reason.warning{border-color:#8a5a00}\n"
".reason.critical{border-color:#a8410b}.reason.pass,.reason.healthy{border-color:#11703d}\n"
".charts{columns:560px;column-gap:20px}\n"
"figure{display:inline-block;width:100%;margin:0 0 16px;break-inside:avoid;border:1px solid var(--line);border-radius:8px;padding:12px;min-width:0}\n"
"figcaption{margin-bottom:8px;color:var(--muted)}figcaption b{display:block;color:var(--fg)}\n"
"svg.plot{display:block;width:100%;height:auto}\n"
"summary{cursor:pointer;color:var(--link);margin-top:6px}\n"
".scroll{overflow:auto;max-height:420px}\n"
"table{border-collapse:collapse;width:100%;font-size:.93em}\n"
"caption{text-align:left;color:var(--muted);padding:4px 0}\n"
"th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid var(--line)}td{overflow-wrap:anywhere}tbody th{overflow-wrap:break-word;min-width:5.5em}\n"
"thead th{color:var(--muted);font-weight:600}tbody th{font-weight:400}td{font-variant-numeric:tabular-nums}\n"
"figure td,td.n{overflow-wrap:normal;white-space:nowrap}.names tbody th{overflow-wrap:anywhere;min-width:9em}\n"
"tr.fail th,td strong{font-weight:700}article>table:not(.checks){width:auto;min-width:min(100%,560px)}\n"
"pre{background:var(--box);border:1px solid var(--line);border-radius:6px;padding:10px;white-space:pre-wrap;overflow-wrap:anywhere;margin:8px 0}\n"
"@media screen and (max-width:620px){main{padding:12px}figure{padding:8px}\n"
".checks thead{position:absolute;clip-path:inset(50%)}.checks tr{display:block;border-bottom:1px solid var(--line);padding:6px 0}\n"
".checks th,.checks td{display:block;border:0;padding:1px 0}\n"
".checks td[data-name]{display:inline-block;margin-right:14px}.checks td[data-name]:empty{display:none}\n"
".checks td[data-name]::before{content:attr(data-name) \": \";color:var(--muted)}}\n"
"@media screen and (prefers-color-scheme:dark){:root{--fg:#e6edf3;--muted:#9aa6b2;--bg:#0f1419;--line:#30363d;--box:#161c23;--link:#6cb2ff}}\n"
"@media print{:root{color-scheme:light}body{font-size:10pt}main{max-width:none;padding:0}.charts{columns:2;column-gap:10px}\n"
"tr,pre{break-inside:avoid}h2,h3{break-after:avoid}details{display:none}\n"
".badge{print-color-adjust:exact;-webkit-print-color-adjust:exact}svg.plot{print-color-adjust:exact;-webkit-print-color-adjust:exact}}\n";

/* Begins a page that the browser loads again after so many seconds; 0: it does not. */
void
page_begin_live(StringInfo out, const char *title, int refresh_s)
{
	appendStringInfoString(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
						   "<meta http-equiv=\"Content-Security-Policy\" content=\"" PAGE_POLICY "\">\n"
						   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
	if (refresh_s > 0)
		appendStringInfo(out, "<meta http-equiv=\"refresh\" content=\"%d\">\n", refresh_s);
	appendStringInfoString(out, "<title>");
	markup_text(out, title);
	appendStringInfo(out, "</title>\n<style>\n%s%s\n%s\n</style>\n</head>\n<body>\n<main>\n", page_style, plot_style, plot_style_dark);
}

/* Begins a page. */
void
page_begin(StringInfo out, const char *title)
{
	page_begin_live(out, title, 0);
}

void
page_end(StringInfo out)
{
	appendStringInfoString(out, "</main>\n</body>\n</html>\n");
}

void
page_heading(StringInfo out, int level, const char *text)
{
	appendStringInfo(out, "<h%d>", level);
	markup_text(out, text);
	appendStringInfo(out, "</h%d>\n", level);
}

/* A verdict, an outcome or a health, in the color of that word. */
void
page_badge(StringInfo out, const char *word)
{
	appendStringInfoString(out, "<span class=\"badge ");
	markup_text(out, word);
	appendStringInfoString(out, "\">");
	markup_text(out, word);
	appendStringInfoString(out, "</span>");
}

/* A paragraph of that class; NULL: of none. */
void
page_paragraph(StringInfo out, const char *class, const char *text)
{
	if (class != NULL)
		appendStringInfo(out, "<p class=\"%s\">", class);
	else
		appendStringInfoString(out, "<p>");
	markup_text(out, text);
	appendStringInfoString(out, "</p>\n");
}
