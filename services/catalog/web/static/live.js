// The stream of events: a dot that says how fresh the page is, a counter for what came, marks for what others decided.
(() => {
  const page = () => document.getElementById("page");
  const frameOf = (id) => document.getElementById(`f-${id}`);
  let stream;
  let cursor = page()?.dataset.cursor;
  let heard = Date.now();
  let dirty = false;
  let refreshed = 0;
  const arrived = new Set();

  const local = () => {
    const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    const moment = { ...clock, second: "2-digit", day: "numeric", month: "short" };
    for (const time of document.querySelectorAll("time[data-as]")) {
      const how = time.dataset.as === "clock" ? clock : moment;
      time.textContent = new Date(time.dateTime).toLocaleString("en-GB", how).replace(",", "");
      time.removeAttribute("data-as");
    }
  };

  const say = () => {
    const live = document.getElementById("live");
    if (!live) return;
    const behind = Math.round((Date.now() - heard) / 1000);
    const lost = behind >= 12 || stream?.readyState === EventSource.CLOSED || (stream?.readyState === 0 && behind > 1);
    live.className = lost ? "live lost" : stream?.readyState === 1 ? "live on" : "live";
    const words = lost ? `${behind} s behind` : stream?.readyState === 1 ? "live" : "connecting";
    if (live.lastElementChild.textContent !== words) live.lastElementChild.textContent = words;
  };

  // Asked for by nobody, so a refusal or an outage changes nothing: the dot tells of it.
  const refresh = async (selector) => {
    const asked = location.href;
    const answer = await fetch(asked).catch(() => null);
    const text = answer?.ok && !answer.redirected && (await answer.text());
    if (!text || asked !== location.href || document.querySelector(":popover-open")) return;
    htmx.swap({ sourceElement: document.body, text, target: selector, select: selector, swap: "outerMorph show:none" });
  };

  // A picture on the stage is replaced only when somebody decided on it; everything else waits for the next move.
  const tick = () => {
    say();
    if (!dirty || document.hidden || Date.now() - refreshed < 1000) return;
    refreshed = Date.now();
    const whole = dirty === "page";
    dirty = false;
    refresh(whole ? "#page" : "#rail");
  };

  const onDecision = ({ asset_id, status, by }) => {
    if (by === page().dataset.viewer) return; // the answer to one's own form brings it all
    const frame = frameOf(asset_id);
    dirty ||= "rail";
    if (frame?.hasAttribute("aria-current") && !frame.classList.contains(status)) dirty = "page";
    if (!frame || dirty === "page") return;
    frame.className = `frame ${status}`;
    frame.querySelector(".verdict")?.remove();
    if (status !== "approved" && status !== "rejected") return;
    const verdict = document.createElement("span");
    verdict.className = "verdict";
    verdict.innerHTML = `<svg class="g" aria-hidden="true"><use href="#g-${status}"/></svg>${status}`;
    frame.append(verdict);
  };

  const onAsset = ({ asset_id, status }) => {
    dirty ||= "rail";
    if (status === "completed" && !frameOf(asset_id)) arrived.add(asset_id);
    count();
  };

  const count = () => {
    for (const id of arrived) if (frameOf(id)) arrived.delete(id);
    const news = document.getElementById("news");
    if (!news) return;
    news.hidden = !arrived.size;
    news.textContent = `${arrived.size} new, show`;
  };

  const listen = () => {
    if (cursor === undefined || document.hidden) return;
    stream = new EventSource(`/v1/events?after=${cursor}`);
    const hear = (name, act) =>
      stream.addEventListener(name, (event) => {
        heard = Date.now();
        if (event.lastEventId) cursor = event.lastEventId;
        act(event.data ? JSON.parse(event.data) : {});
        say();
      });
    const sheet = page().classList.contains("jobs");
    hear("heartbeat", () => {});
    hear("job", () => (dirty ||= sheet && "page"));
    hear("asset", (data) => (sheet ? (dirty = "page") : onAsset(data)));
    hear("decision", (data) => (sheet ? (dirty = "page") : onDecision(data)));
    stream.onopen = () => {
      heard = Date.now();
      say();
    };
  };

  // A browser opens six connections to an origin: a hidden tab gives its own back, and catches up when it is seen again.
  document.addEventListener("visibilitychange", () => {
    stream?.close();
    listen();
  });
  setInterval(() => {
    if (stream?.readyState === EventSource.CLOSED) listen();
  }, 5000);
  setInterval(tick, 250);

  document.addEventListener("htmx:after:swap", () => {
    local();
    count();
    say();
  });
  document.addEventListener("htmx:error", (event) => {
    if (!event.detail.ctx) return;
    document.querySelector(".unsent")?.remove();
    const note = document.createElement("p");
    note.className = "toast unsent";
    note.setAttribute("role", "alert");
    note.textContent = "Not recorded: the house did not answer. Try again.";
    if (event.detail.ctx.request.method === "GET") note.textContent = "The house did not answer. Try again.";
    document.querySelector("main").append(note);
    setTimeout(() => note.remove(), 6000);
  });
  local();
  listen();
})();
