// Each batch as a contact sheet: one 7 px square a job, drawn on a canvas; arrows walk it, Enter opens.
(() => {
  const WORDS = { p: "pending", w: "waiting", r: "running", c: "completed", a: "approved", x: "rejected", f: "failed", n: "cancelled" };
  const SIDE = 7;
  const PITCH = 9;
  const places = new WeakMap();

  const columns = (sheet) => (sheet.clientWidth < 500 ? 36 : Math.min(100, Math.floor((sheet.clientWidth + 2) / PITCH)));

  // The table under the sheet names every state that is on it, in the colour of its squares.
  const coloursOf = (sheet) => {
    const found = {};
    for (const letter in WORDS) {
      const named = sheet.parentElement.querySelector(`td .${WORDS[letter]}`);
      if (named) found[letter] = getComputedStyle(named).getPropertyValue("--sq");
    }
    return found;
  };

  const draw = (sheet) => {
    const jobs = sheet.dataset.squares;
    const across = columns(sheet);
    const canvas = sheet.querySelector("canvas");
    const ratio = devicePixelRatio || 1;
    const width = across * PITCH;
    const height = Math.ceil(jobs.length / across) * PITCH + 2;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const colour = coloursOf(sheet);
    const at = places.get(sheet);
    for (let i = 0; i < jobs.length; i++) {
      const x = (i % across) * PITCH + 1;
      const y = Math.floor(i / across) * PITCH + 1;
      pen.fillStyle = colour[jobs[i]];
      pen.fillRect(x, y, SIDE, SIDE);
      if (i !== at) continue;
      pen.strokeStyle = "#1f1d1a";
      pen.lineWidth = 1.5;
      pen.strokeRect(x - 0.5, y - 0.5, SIDE + 1, SIDE + 1);
    }
  };

  const goTo = (sheet, place) => {
    const last = sheet.dataset.squares.length - 1;
    if (last < 0) return;
    const at = Math.max(0, Math.min(last, place));
    places.set(sheet, at);
    const number = (Number(sheet.dataset.first) + at + 1).toLocaleString("en");
    sheet.querySelector("output").textContent = `job ${number}, ${WORDS[sheet.dataset.squares[at]]}`;
    draw(sheet);
  };

  const open = (sheet) => {
    const at = places.get(sheet);
    if (at === undefined) return;
    const address = sheet.dataset.open + (Number(sheet.dataset.first) + at) + location.search;
    htmx.ajax("GET", address, { target: "#page", select: "#page", swap: "outerMorph show:none", push: "true" });
  };

  const under = (sheet, event) => {
    const box = sheet.querySelector("canvas").getBoundingClientRect();
    const across = columns(sheet);
    const column = Math.min(across - 1, Math.floor((event.clientX - box.left) / PITCH));
    return Math.floor((event.clientY - box.top) / PITCH) * across + column;
  };

  const sheetOf = (event) => event.target.closest?.(".squares");

  document.addEventListener("keydown", (event) => {
    const sheet = sheetOf(event);
    if (!sheet || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = places.get(sheet) ?? -1;
    const across = columns(sheet);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (event.key in steps) goTo(sheet, at < 0 ? 0 : at + steps[event.key]);
    else if (event.key === "Enter") open(sheet);
    else return;
    event.preventDefault();
  });
  document.addEventListener("mousemove", (event) => {
    const sheet = sheetOf(event);
    if (sheet && event.target.tagName === "CANVAS") goTo(sheet, under(sheet, event));
  });
  document.addEventListener("click", (event) => {
    const sheet = sheetOf(event);
    if (!sheet || event.target.tagName !== "CANVAS") return;
    goTo(sheet, under(sheet, event));
    open(sheet);
  });

  const drawAll = () => document.querySelectorAll(".squares").forEach(draw);
  document.addEventListener("htmx:after:swap", drawAll);
  addEventListener("resize", drawAll);
  drawAll();
})();
