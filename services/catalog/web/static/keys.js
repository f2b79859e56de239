// Keys press what the page offers: an element that answers to a key says so in data-key.
(() => {
  let deciding = false;

  const named = ({ key }) => (key === " " ? "Space" : key.length === 1 ? key.toLowerCase() : key);

  // With a sheet open (codes, all keys) only the sheet answers, and the button that opened it.
  const answering = (key) => {
    const sheet = document.querySelector(":popover-open");
    return [...document.querySelectorAll("[data-key]")].find(
      (element) =>
        element.dataset.key.split(" ").includes(key) &&
        element.checkVisibility() &&
        (!sheet || sheet.contains(element) || element.popoverTargetElement === sheet),
    );
  };

  const native = ({ target }, key) => {
    if (target.matches("input:not([type=checkbox])")) return true;
    return ["Enter", "Space"].includes(key) && target !== document.body;
  };

  // Who tabs onto a control means that control with Enter; who clicked it is done with it, and means the picture.
  document.addEventListener("click", (event) => {
    if (event.detail && event.target.closest("a,button,.rubric")) document.activeElement.blur();
  });

  document.addEventListener("keydown", (event) => {
    const key = named(event);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || native(event, key)) return;
    if (event.shiftKey && key !== "?") return;
    const element = answering(key);
    if (!element) return;
    event.preventDefault();
    // Holding a key walks the strip; it never decides twice, and never approves a picture not yet seen.
    if (deciding || (event.repeat && !/^(Arrow|[hjkl]$)/.test(key))) return;
    if (key === "Enter" && document.getElementById("picture")?.complete === false) return;
    if (element.dataset.hold) document.dispatchEvent(new Event("hold"));
    else element.click();
  });

  // While a decision is on its way nothing else leaves: a second request would abort or double it.
  document.addEventListener("htmx:config:request", (event) => {
    if (deciding) event.preventDefault();
    else deciding = event.detail.ctx.request.method === "POST";
  });
  document.addEventListener("htmx:finally:request", (event) => {
    if (event.detail.ctx.request.method === "POST") deciding = false;
  });
})();
