// Each batch as a contact sheet: one 7 px square a job; arrows walk it, Enter opens.
(() => {
  const WORDS = { p: "pending", w: "waiting", r: "running", c: "completed", a: "approved", x: "rejected", f: "failed", n: "cancelled" };
  const SIDE = 7;
  const PITCH = 9;
  const places = new WeakMap();

  const columns = (sheet) => (sheet.clientWidth < 500 ? 36 : Math.min(100, Math.floor((sheet.clientWidth + 2) / PITCH)));

  // The table under the sheet names every state that is on it, in the colour of its squares.
  const coloursOf = (sheet) => {
    const colours = {};
    for (const letter in WORDS) {
      const named = sheet.parentElement.querySelector(`td .${WORDS[letter]}`);
      if (named) colours[letter] = getComputedStyle(named).getPropertyValue("--sq");
    }
    return colours;
  };

  const draw = (sheet) => {
    const jobs = sheet.dataset.squares;
    const across = columns(sheet);
    const canvas = sheet.querySelector("canvas");
    const ratio = devicePixelRatio;
    const width = across * PITCH;
    const height = Math.ceil(jobs.length / across) * PITCH + 2;
    Object.assign(canvas, { width: width * ratio, height: height * ratio });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.lineWidth = 1.5;
    const colours = coloursOf(sheet);
    const at = places.get(sheet);
    for (let i = 0; i < jobs.length; i++) {
      const x = (i % across) * PITCH + 1;
      const y = Math.floor(i / across) * PITCH + 1;
      pen.fillStyle = colours[jobs[i]];
      pen.fillRect(x, y, SIDE, SIDE);
      if (i === at) pen.strokeRect(x - 0.5, y - 0.5, SIDE + 1, SIDE + 1);
    }
  };

  const goTo = (sheet, place) => {
    const at = Math.max(0, Math.min(sheet.dataset.squares.length - 1, place));
    places.set(sheet, at);
    const number = (Number(sheet.dataset.first) + at + 1).toLocaleString("en");
    sheet.querySelector("output").textContent = `job ${number}, ${WORDS[sheet.dataset.squares[at]]}`;
    draw(sheet);
  };

  const open = (sheet) => {
    const address = sheet.dataset.open + (Number(sheet.dataset.first) + (places.get(sheet) ?? 0)) + location.search;
    htmx.ajax("GET", address, { target: "#page", select: "#page", swap: "outerMorph show:none", push: "true" });
  };

  document.addEventListener("keydown", (event) => {
    const sheet = event.target.closest(".squares");
    if (!sheet || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = places.get(sheet);
    const across = columns(sheet);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (event.key in steps) goTo(sheet, at === undefined ? 0 : at + steps[event.key]);
    else if (event.key === "Enter") open(sheet);
    else return;
    event.preventDefault();
  });

  const point = (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const sheet = event.target.parentElement;
    const across = columns(sheet);
    const column = Math.min(across - 1, Math.floor(event.offsetX / PITCH));
    goTo(sheet, Math.floor(event.offsetY / PITCH) * across + column);
    if (event.type === "click") open(sheet);
  };
  document.addEventListener("mousemove", point);
  document.addEventListener("click", point);

  const drawAll = () => document.querySelectorAll(".squares").forEach(draw);
  document.addEventListener("htmx:after:swap", drawAll);
  addEventListener("resize", drawAll);
  drawAll();
})();
