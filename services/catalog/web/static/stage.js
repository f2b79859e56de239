// What the stage does by itself: centres the strip, fetches neighbours, holds 1:1, ends the undo window.
(() => {
  const all = (selector) => document.querySelectorAll(selector);

  const centre = () => {
    const frame = document.querySelector(".frame[aria-current]");
    const strip = frame?.closest(".strip");
    if (strip) strip.scrollLeft = frame.offsetLeft - strip.offsetLeft - (strip.clientWidth - frame.clientWidth) / 2;
  };

  const toFocus = ({ currentTarget: image }) => {
    const box = image.parentElement;
    const [x, y] = image.dataset.focal.split(" ");
    box.scrollTo(image.width * x - box.clientWidth / 2, image.height * y - box.clientHeight / 2);
  };

  const look = (image) => (image.complete ? toFocus({ currentTarget: image }) : (image.onload = toFocus));

  const drop = () => document.querySelector(".held")?.remove();

  document.addEventListener("hold", () => {
    drop();
    const picture = document.getElementById("picture");
    const { large, focal } = picture.dataset;
    const image = Object.assign(new Image(), { src: large, alt: picture.alt });
    image.dataset.focal = focal;
    const loupe = document.createElement("div");
    loupe.className = "loupe held";
    loupe.append(image);
    picture.after(loupe);
    look(image);
  });
  document.addEventListener("keyup", (event) => event.key === " " && drop());
  addEventListener("blur", drop);

  // The server refuses a late undo; here it is no longer offered.
  setInterval(() => {
    for (const offer of all("[data-until]")) if (Date.parse(offer.dataset.until) < Date.now()) offer.remove();
  }, 250);

  const settle = () => {
    centre();
    for (const frame of all(".frame[data-key][data-url]")) new Image().src = frame.dataset.url;
    all(".loupe:not(.held) img").forEach(look);
  };
  document.addEventListener("htmx:after:swap", settle);
  settle();
})();
