// What the stage does by itself: keeps the strip centred, fetches the neighbours, holds 1:1, ends the undo window.
(() => {
  const all = (selector) => document.querySelectorAll(selector);

  const centre = () => {
    const frame = document.querySelector(".frame[aria-current]");
    const strip = frame?.closest(".strip");
    if (strip) strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - (strip.clientWidth - frame.clientWidth) / 2;
  };

  const fetchAhead = () => {
    for (const frame of all(".frame[data-key][data-url]")) new Image().src = frame.dataset.url;
  };

  const toFocus = (image) => {
    const box = image.parentElement;
    const [x, y] = image.dataset.focal.split(" ");
    box.scrollLeft = image.width * x - box.clientWidth / 2;
    box.scrollTop = image.height * y - box.clientHeight / 2;
  };

  const look = (image) => (image.complete ? toFocus(image) : (image.onload = () => toFocus(image)));

  const drop = () => document.querySelector(".loupe.held")?.remove();

  document.addEventListener("hold", () => {
    const picture = document.getElementById("picture");
    if (!picture) return;
    drop();
    const loupe = document.createElement("div");
    loupe.className = "loupe held";
    const image = new Image();
    image.src = picture.dataset.large;
    image.alt = picture.alt;
    image.dataset.focal = picture.dataset.focal;
    loupe.append(image);
    picture.after(loupe);
    look(image);
  });
  document.addEventListener("keyup", (event) => event.key === " " && drop());
  window.addEventListener("blur", drop);

  // The server refuses a late undo; here it only stops being offered.
  setInterval(() => {
    for (const element of all("[data-until]")) if (Date.parse(element.dataset.until) < Date.now()) element.remove();
  }, 250);

  const settle = () => {
    centre();
    fetchAhead();
    for (const image of all(".loupe:not(.held) img")) look(image);
  };
  document.addEventListener("htmx:after:swap", settle);
  settle();
})();
