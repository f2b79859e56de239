// The stream of events: a dot that says how fresh the page is, a counter for what came, marks for what others decided.
(() => {
  const id = (name) => document.getElementById(name);
  const page = () => id("page");
  const arrived = new Set();
  let cursor = page().dataset.cursor;
  let heard = Date.now();
  let refreshed = 0;
  let dirty = ""; // the id of what to fetch again
  let stream;

  const local = () => {
    const moment = { dateStyle: "medium", timeStyle: "medium" };
    for (const time of document.querySelectorAll("time[data-as]")) {
      const at = new Date(time.dateTime);
      const day = at.toLocaleString("en-GB", moment).replace(/ \d+,/, "");
      time.textContent = time.dataset.as === "clock" ? at.toTimeString().slice(0, 5) : day;
      delete time.dataset.as;
    }
  };

  const say = () => {
    const live = id("live");
    if (!live) return;
    const behind = Math.round((Date.now() - heard) / 1000);
    const on = stream?.readyState === EventSource.OPEN && behind < 12;
    const state = on ? "on" : behind > 1 ? "lost" : "";
    const words = on ? "live" : state ? `${behind} s behind` : "connecting";
    live.className = `live ${state}`;
    if (live.lastChild.textContent !== words) live.lastChild.textContent = words;
  };

  const news = () => {
    for (const asset of arrived) if (id(`f-${asset}`)) arrived.delete(asset);
    if (!id("news")) return;
    id("news").hidden = !arrived.size;
    id("news").textContent = `${arrived.size} new, show`;
  };

  // Nobody asked for it, so a refusal or an outage changes nothing: the dot tells.
  const refresh = async () => {
    const part = `#${dirty}`;
    const here = () => page().dataset.here || location.href;
    const asked = here();
    dirty = "";
    refreshed = Date.now();
    const answer = await fetch(asked).catch(() => null);
    const text = answer?.ok && (await answer.text());
    if (!text || asked !== here()) return;
    htmx.swap({ sourceElement: document.body, text, target: part, select: part, swap: "outerMorph show:none" });
  };

  const onDecision = ({ asset_id, status, by }) => {
    if (by === page().dataset.viewer) return; // the answer to one's own form brings it all
    const frame = id(`f-${asset_id}`);
    dirty ||= "rail";
    if (!frame || frame.classList.contains(status)) return;
    // A picture on the stage is drawn again only when somebody decided on it; nothing else moves under the eyes.
    if (frame.ariaCurrent) dirty = "page";
    frame.className = `frame ${status}`;
    const verdict = frame.querySelector(".verdict");
    verdict.lastChild.textContent = status;
    verdict.querySelector("use").setAttribute("href", `#g-${status}`);
  };

  const onAsset = ({ asset_id, status }) => {
    dirty ||= "rail";
    if (status === "completed") arrived.add(asset_id);
    news();
  };

  const listen = () => {
    if (!cursor || document.hidden) return;
    const sheet = page().classList.contains("jobs");
    const redraw = () => (dirty = "page");
    const acts = {
      heartbeat: () => {},
      reset: redraw, // more was missed than is kept
      job: sheet ? redraw : () => {},
      asset: sheet ? redraw : onAsset,
      decision: sheet ? redraw : onDecision,
    };
    stream = new EventSource(`/v1/events?after=${cursor}`);
    stream.onopen = () => (heard = Date.now());
    for (const name in acts)
      stream.addEventListener(name, (event) => {
        heard = Date.now();
        cursor = event.lastEventId || cursor;
        acts[name](JSON.parse(event.data || "{}"));
      });
  };

  // A browser opens six connections to an origin: a hidden tab gives its own back, and catches up later.
  document.addEventListener("visibilitychange", () => {
    stream?.close();
    listen();
  });
  setInterval(() => stream?.readyState === EventSource.CLOSED && listen(), 5000);
  setInterval(() => {
    say();
    const busy = document.hidden || document.querySelector(":popover-open");
    if (dirty && !busy && Date.now() - refreshed > 1000) refresh();
  }, 250);

  document.addEventListener("htmx:after:swap", () => {
    local();
    news();
  });
  document.addEventListener("htmx:error", (event) => {
    const note = id("unsent");
    if (!event.detail.ctx || !note) return;
    note.hidden = false;
    setTimeout(() => (note.hidden = true), 6000);
  });
  local();
  listen();
})();
