"use strict";
(() => {
  const STEP = 50;

  function make(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function glyph(arm) {
    const made = make("span", "glyph", arm.glyph);
    made.style.color = `var(--${arm.colour})`;
    return made;
  }

  function text(said) {
    const made = make("div", "text", said);
    made.dir = "auto";
    return made;
  }

  // [sign, class, words] of a score in [0, 1]
  function verdict(score) {
    if (score === null) return ["–", "", "not scored"];
    if (score === 1) return ["✓", "right", "right"];
    if (score === 0) return ["✗", "wrong", "wrong"];
    return [score === 0.5 ? "½" : score.toFixed(2), "", `credit ${score.toFixed(2)}`];
  }

  function percent(share) {
    return `${Math.round(100 * share)}%`;
  }

  // how sure a vote is, in words; nothing where there is none
  function doubt(answered) {
    if (answered.share === null) return "";
    return `, ${percent(answered.share)} of the votes, entropy of the answers ${answered.entropy.toFixed(2)} nats`;
  }

  // the questions that an arm is least sure of first, equal ones as they stand
  function leastSureFirst(rows, place) {
    if (place < 0) return rows;
    const of = (row) => row.arms[place];
    return [...rows].sort((a, b) => of(a).share - of(b).share || of(b).entropy - of(a).entropy);
  }

  function mark(data, arm, answered) {
    const made = make("span", "mark");
    made.append(glyph(arm));
    const count = answered.all.length;
    if (!data.scored) {
      made.append(`${answered.texts.length} of ${count}`);
      made.title = `${arm.name}: ${answered.texts.length} different texts of ${count}`;
      return made;
    }
    const [sign, className, words] = verdict(answered.vote);
    made.append(make("b", className, sign));
    if (count > 1) made.append(make("span", "", `${answered.right}/${count}`));
    if (answered.share !== null) made.append(make("small", "", `(${percent(answered.share)})`));
    made.title = `${arm.name}: ${words}, ${answered.right} of ${count} responses right${doubt(answered)}`;
    return made;
  }

  // the answers to a question with their votes, most votes first
  function tally(answered) {
    const classes = new Map();
    for (const [, , label, score, answer] of answered.all) {
      const found = classes.get(label) || { votes: 0, score, answer, label };
      found.votes += 1;
      classes.set(label, found);
    }
    return [...classes.values()].sort((a, b) => b.votes - a.votes);
  }

  function votes(answered) {
    const line = make("div", "who");
    const classes = tally(answered);
    const most = Math.max(...classes.map((one) => (one.label === null ? 0 : one.votes)));
    const top = classes.filter((one) => one.label !== null && one.votes === most);
    classes.forEach((one, place) => {
      if (place) line.append(" · ");
      const [sign, className] = verdict(one.score);
      if (one.label === null) line.append(`no answer ×${one.votes}`);
      else {
        const answer = make("bdi", className, `${sign} ${one.answer}`);
        line.append(answer, ` ×${one.votes}${!top.includes(one) ? "" : top.length > 1 ? " (tied)" : " (wins)"}`);
      }
    });
    return line;
  }

  function response(data, arm, answered, place) {
    const same = answered.all.filter((one) => one[0] === place);
    const [, , label, score, answer, tokens] = same[0];
    const line = make("div", "who");
    if (data.scored) {
      const [sign, className] = verdict(score);
      line.append(make("b", className, sign), " ");
    }
    const numbers = [...new Set(same.map((one) => one[1]))].join(", ");
    if (arm.calls > 1) line.append(`${same.length > 1 ? same.length + " times; " : ""}${arm.who} ${numbers}`);
    const facts = [];
    if (data.scored && arm.calls > 1) facts.push(label === null ? "no answer" : `answer ${answer}`);
    if (tokens !== null) facts.push(`${tokens} tokens`);
    if (same[0][6]) facts.push("cut off at the limit");
    line.append(make("bdi", "", (arm.calls > 1 && facts.length ? "; " : "") + facts.join("; ")));
    return [line, text(answered.texts[place] || "(empty)")];
  }

  function body(data, row) {
    const made = make("div", "body");
    const [before, after] = data.around[row.part];
    made.append(make("h4", "", "Question"), text(row.asked.trim()));
    if (before || after) {
      const whole = make("details");
      whole.append(make("summary", "who", "The whole prompt"), text(before + row.asked + after));
      made.append(whole);
    }
    if (row.gold) {
      const gold = make("p");
      gold.append("Right answer: ", make("bdi", "", row.gold));
      made.append(gold);
    }
    data.arms.forEach((arm, place) => {
      const answered = row.arms[place];
      const head = make("h4");
      head.append(glyph(arm), " ", make("bdi", "", arm.name), " ");
      if (data.scored) {
        const [sign, className, words] = verdict(answered.vote);
        head.append(make("span", className, `${sign} ${arm.calls > 1 ? "vote " : ""}${words}`));
        if (arm.calls > 1) head.append(make("span", "doubt", doubt(answered)));
      }
      made.append(head);
      if (data.scored && arm.calls > 1) made.append(votes(answered));
      answered.texts.forEach((_, said) => made.append(...response(data, arm, answered, said)));
    });
    return made;
  }

  function item(data, row) {
    const made = make("details", "q");
    const head = make("summary");
    const asked = make("span", "ask", row.asked.trim().slice(0, 300));
    asked.dir = "auto";
    const marks = make("span", "marks");
    data.arms.forEach((arm, place) => marks.append(mark(data, arm, row.arms[place])));
    head.append(make("span", "id", `${row.id}`), asked, marks);
    made.append(head);
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) made.append(body(data, row));
    });
    return made;
  }

  function haystack(row) {
    if (row.haystack === undefined) {
      const said = row.arms.flatMap((one) => [...one.texts, ...one.all.map((each) => each[4] || "")]);
      row.haystack = [row.part, row.id, row.asked, row.gold, ...said].join("\n").toLowerCase();
    }
    return row.haystack;
  }

  function wanted(row, which) {
    const scores = row.arms.map((one) => one.vote);
    if (which === "differ") return scores.some((score) => score !== scores[0]);
    if (which === "right") return scores.every((score) => score === 1);
    if (which === "wrong") return scores.every((score) => score === 0);
    return true;
  }

  function questions(section) {
    const data = JSON.parse(section.querySelector("script").textContent);
    const input = section.querySelector("input");
    const [select, order] = [section.querySelector(".which"), section.querySelector(".order")];
    const [list, more] = [section.querySelector(".list"), section.querySelector(".next")];
    const count = section.querySelector("output");
    let found = [];
    let shown = 0;

    function next() {
      const rows = found.slice(shown, shown + STEP);
      list.append(...rows.map((row) => item(data, row)));
      shown += rows.length;
      more.hidden = shown >= found.length;
    }
    function search() {
      const sought = input.value.trim().toLowerCase();
      const which = select ? select.value : "all";
      const rows = leastSureFirst(data.rows, order ? Number(order.value) : -1);
      found = rows.filter(
        (row) => wanted(row, which) && (!sought || haystack(row).includes(sought)),
      );
      count.textContent = `${found.length} of ${data.rows.length} questions`;
      list.replaceChildren();
      shown = 0;
      next();
    }
    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(search, data.rows.length > 500 ? 200 : 0);
    });
    [select, order].forEach((one) => { if (one) one.addEventListener("change", search); });
    section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", next);
    search();
  }

  function plane(figure) {
    const said = figure.querySelector("output");
    function read(event) {
      const point = event.target.closest(".point");
      if (!point) return;
      figure.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
      point.classList.add("chosen");
      said.textContent = point.querySelector("title").textContent;
    }
    figure.addEventListener("pointerover", read);
    figure.addEventListener("click", read);
  }

  document.querySelectorAll("section.questions").forEach(questions);
  document.querySelectorAll("figure.plane").forEach(plane);
})();
