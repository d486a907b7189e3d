"use strict";
(() => {
  // So many rows are put on the page at once, and so many when it is printed.
  const STEP = 200, PRINT = 5000;
  const { columns, rows, labels } = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
  const cellText = (cell) => (Array.isArray(cell) ? cell[1] : cell);
  // What was hidden in a text and is spelled out now stands out.
  const put = (into, text) => {
    for (const part of text.split(/(\\(?:u\{[0-9a-f]+\}|[nrt\\]))/)) {
      if (part) into.append(/^\\(?:u\{|[nrt\\]$)/.test(part) ? make("mark", "", part) : part);
    }
    return into;
  };

  const chosen = columns.map(() => null);
  let sort = null, found = rows, shown = 0, printing = false;
  const haystacks = new Array(rows.length);
  const haystack = (n) => haystacks[n] ??=
    [...rows[n].c.map(cellText), ...rows[n].d.map((detail) => detail[1])].join("\n").toLowerCase();
  rows.forEach((row, n) => { row.n = n; });

  const look = () => {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const picks = [...chosen.entries()].filter(([, pick]) => pick && pick.size);
    found = rows.filter((row) =>
      (!printing || !row.p) && picks.every(([column, pick]) => pick.has(cellText(row.c[column])))
      && words.every((word) => haystack(row.n).includes(word)));
    if (sort) {
      const { column, down } = sort, number = columns[column].kind === "number";
      const order = number
        ? (a, b) => a.c[column][0] - b.c[column][0]
        : (a, b) => (a.c[column] < b.c[column] ? -1 : a.c[column] > b.c[column] ? 1 : 0);
      found.sort((a, b) => (down ? order(b, a) : order(a, b)) || a.n - b.n);
    }
    shown = 0;
    at("rows").replaceChildren();
    grow(printing ? PRINT : STEP);
  };

  const say = () => {
    const all = rows.length, some = found.length;
    let text = some === all ? `${thousands(all)} rows` : `${thousands(some)} of ${thousands(all)} rows`;
    if (printing && rows.some((row) => row.p)) text += ", beside those above";
    if (shown < some) text += printing ? `; the first ${thousands(shown)} are printed` : `; the first ${thousands(shown)} are shown`;
    at("found").textContent = text;
    at("more").hidden = shown >= some;
  };

  const grow = (by) => {
    const next = document.createDocumentFragment();
    for (const row of found.slice(shown, shown + by)) next.append(line(row));
    shown = Math.min(found.length, shown + by);
    at("rows").append(next);
    say();
  };

  const line = (row) => {
    const tr = make("tr"), fold = make("td", "fold"), open = make("button", "open");
    open.type = "button";
    open.setAttribute("aria-expanded", "false");
    open.setAttribute("aria-label", "Details of row " + (row.n + 1));
    open.addEventListener("click", () => toggle(tr, open, row));
    fold.append(open);
    tr.append(fold);
    row.c.forEach((cell, n) => {
      const { kind } = columns[n], td = make("td", kind === "text" ? "" : kind);
      if (kind === "tag") td.append(make("span", "badge " + cellText(cell), cellText(cell)));
      else put(td, cellText(cell));
      tr.append(td);
    });
    return tr;
  };

  const toggle = (tr, open, row) => {
    const is = open.getAttribute("aria-expanded") === "true";
    open.setAttribute("aria-expanded", String(!is));
    if (is) return tr.nextSibling.remove();
    const more = make("tr", "details"), td = make("td"), list = make("dl");
    td.colSpan = columns.length + 1;
    for (const [label, text] of row.d) list.append(make("dt", "", labels[label]), put(make("dd", "code"), text));
    td.append(list);
    more.append(td);
    tr.after(more);
  };

  const head = () => {
    const cells = [make("td", "fold")];
    columns.forEach(({ name, kind }, n) => {
      const th = make("th", kind === "number" ? "number" : ""), button = make("button", "", name), mark = make("span");
      th.scope = "col";
      button.type = "button";
      mark.setAttribute("aria-hidden", "true");
      button.append(mark);
      button.addEventListener("click", () => {
        // Up, down, and back to the order of the file.
        sort = !sort || sort.column !== n ? { column: n, down: false } : sort.down ? null : { column: n, down: true };
        for (const other of at("heads").querySelectorAll("th")) {
          other.removeAttribute("aria-sort");
          other.querySelector("span").textContent = "";
        }
        if (sort) {
          th.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
          mark.textContent = sort.down ? "↓" : "↑";
        }
        look();
      });
      th.append(button);
      cells.push(th);
    });
    at("heads").replaceChildren(...cells);
  };

  const filters = () => {
    columns.forEach(({ name, kind }, n) => {
      if (kind !== "tag" && kind !== "choice") return;
      const counts = new Map();
      for (const row of rows) counts.set(cellText(row.c[n]), (counts.get(cellText(row.c[n])) ?? 0) + 1);
      if (kind === "tag") {
        const set = make("fieldset");
        set.append(make("legend", "", name));
        chosen[n] = new Set();
        for (const [value, count] of counts) {
          const button = make("button", "", `${value} ${thousands(count)}`);
          button.type = "button";
          button.dataset.value = value;
          button.setAttribute("aria-pressed", "false");
          button.addEventListener("click", () => {
            const on = !chosen[n].delete(value);
            if (on) chosen[n].add(value);
            button.setAttribute("aria-pressed", String(on));
            look();
          });
          set.append(button);
        }
        at("filters").append(set);
      } else {
        const label = make("label", "pick"), select = make("select");
        select.append(new Option("all", ""));
        [...counts].forEach(([value, count], place) => {
          select.append(new Option(`${value || "(none)"} (${thousands(count)})`, String(place + 1)));
        });
        const values = [...counts.keys()];
        select.addEventListener("change", () => {
          chosen[n] = select.value ? new Set([values[Number(select.value) - 1]]) : null;
          look();
        });
        label.append(make("span", "", name), select);
        at("filters").append(label);
      }
    });
  };

  head();
  filters();
  look();
  at("table").hidden = false;
  at("plain").hidden = true;

  let waits = 0;
  at("search").addEventListener("input", () => {
    clearTimeout(waits);
    waits = setTimeout(look, 60);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      at("search").focus();
    }
  });
  at("more").addEventListener("click", () => grow(STEP * 5));
  new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && shown < found.length) grow(STEP);
  }, { rootMargin: "600px" }).observe(at("more"));
  addEventListener("beforeprint", () => { printing = true; look(); });
  addEventListener("afterprint", () => { printing = false; look(); });
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const from = at(button.dataset.from);
      try {
        await navigator.clipboard.writeText(from.textContent);
        button.textContent = "Copied";
      } catch {
        // Browsers may refuse a page that was opened as a file: then it is selected, for the keys.
        getSelection().selectAllChildren(from);
        button.textContent = "Press Ctrl+C";
      }
    });
  }
})();
