  // What a reviewer does with a plan.
  const actions = lines().map((line) => cell(line, "Action"));
  found.first_actions = [...new Set(actions)];

  await search("evil/");
  found.evil = lines().sort((a, b) => cell(a, "#") - cell(b, "#")).map((line) => cell(line, "Key"));
  found.marks = [...page.querySelectorAll("#rows mark")].map((mark) => mark.textContent);

  await search("PART-012345 reports");
  found.searched = lines().map((line) => cell(line, "Key"));
  found.searched_says = says();
  const open = lines()[0].querySelector("button.open");
  await press(open);
  found.details = page.querySelector("tr.details").textContent;
  await press(open);
  found.folded_again = page.querySelector("tr.details") === null && open.getAttribute("aria-expanded") === "false";
  await search("");

  await press(badge("replace"));
  found.replaces = says();
  await pick("Target", "archive");
  found.replaces_of_archive = says();
  await press(badge("replace"));
  await press(badge("error"));
  found.errors_of_archive = says();
  await press(badge("error"));
  await pick("Target", "all");

  await press(head("Size").querySelector("button"));
  await press(head("Size").querySelector("button"));
  found.aria_sort = head("Size").getAttribute("aria-sort");
  const sources = lines().map((line) => Number(/\d+/.exec(cell(line, "Source"))[0]));
  found.largest = sources.map((n) => n * 37 % 10007);
  await press(at("more"));
  found.grown = says();
  await press(head("Size").querySelector("button"));

  window_.dispatchEvent(new window_.Event("beforeprint"));
  found.print_says = says();
  found.print_rows = lines().length;
  found.print_plain = [...page.styleSheets].some((sheet) => [...sheet.cssRules].some((rule) =>
    rule.media?.mediaText === "print" && [...rule.cssRules].some((inner) =>
      inner.selectorText === "#plain" && inner.style.display === "block")));
  window_.dispatchEvent(new window_.Event("afterprint"));
  found.after_print_rows = lines().length;
