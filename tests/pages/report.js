  // What somebody does who must answer for a run.
  found.first_outcomes = [...new Set(lines().map((line) => cell(line, "Outcome")))];
  // The head stands there whatever is searched for: commands to copy, problems with their advice.
  const seen = (selector) => [...page.querySelectorAll(selector)].filter((one) => one.offsetParent !== null);
  found.commands = seen("code.command").map((code) => code.textContent);
  found.copies = seen("button.copy").length;
  found.head = page.querySelector("main").innerText.split("All rows")[0];

  await search("evil/");
  found.evil = lines().sort((a, b) => cell(a, "#") - cell(b, "#")).map((line) => cell(line, "Key"));
  found.marks = [...page.querySelectorAll("#rows mark")].map((mark) => mark.textContent);

  await search("part-000012");
  await press(lines()[0].querySelector("button.open"));
  found.details = page.querySelector("tr.details").textContent;
  await search("");

  found.badges = [...page.querySelectorAll("fieldset button")].map((button) => button.textContent);
  await press(badge("replaced"));
  found.replaced = says();
  await press(badge("lost"));
  found.replaced_or_lost = says();
  await press(badge("replaced"));
  await press(badge("lost"));
  await pick("Target", "archive");
  found.archive = says();
  await pick("Target", "all");
  await press(head("#").querySelector("button"));
  found.by_number = lines().slice(0, 12).map((line) => cell(line, "#"));
  await press(head("#").querySelector("button"));
  found.from_the_end = cell(lines()[0], "#");

  window_.dispatchEvent(new window_.Event("beforeprint"));
  found.print_says = says();
  window_.dispatchEvent(new window_.Event("afterprint"));
  found.colours = ["refused", "replaced", "created", "unchanged"].map((outcome) => {
    const badge = page.createElement("span");
    badge.className = "badge " + outcome;
    page.body.append(badge);
    return window_.getComputedStyle(badge).color;
  });
