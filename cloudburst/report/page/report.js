"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  document.documentElement.classList.add("on");
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

  // -- the table of scenes -----------------------------------------------------------------------
  const table = $("table"), body = table.tBodies[0], rows = [...body.rows];
  const names = new Map(rows.map((row) => [row, row.cells[1].textContent]));
  const order = { failed: 0, unfinished: 1, done: 2 };
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const keys = {
    name: (row) => names.get(row),
    status: (row) => order[row.dataset.status],
  };
  const key = (column) => keys[column] ?? ((row) => {
    const cell = row.querySelector(`[data-c="${column}"]`);
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  });
  const compare = (a, b) => typeof a === "string" ? collator.compare(a, b) : a - b;
  const shown = $("shown");
  const count = (more = "") => {
    const visible = rows.filter((row) => !row.hidden).length;
    shown.textContent = filled(shown.dataset.text, { shown: visible, all: rows.length }) + more;
  };
  const sort = (head) => {
    const falling = head.getAttribute("aria-sort") === "ascending";
    const value = key(head.dataset.sort);
    const sorted = rows.map((row) => [value(row), Number(row.dataset.n), row]);
    sorted.sort((a, b) => (falling ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    body.append(...sorted.map((one) => one[2]));
    count(" · " + filled(shown.dataset.sorted, { column: head.textContent }));
  };
  for (const head of table.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
  }
  const find = $("find"), status = $("status");
  const filter = () => {
    const wanted = find.value.trim().toLocaleLowerCase();
    for (const row of rows) {
      row.hidden = !(names.get(row).toLocaleLowerCase().includes(wanted)
        && (!status.value || row.dataset.status === status.value));
    }
    count();
  };
  find.addEventListener("input", filter);
  status.addEventListener("change", filter);
  // A browser fills in what was typed before a page was reloaded.
  filter();
  const reveal = (id) => {
    const row = $(id);
    if (!row) return;
    find.value = status.value = "";
    filter();
    for (const other of body.querySelectorAll(".hit")) other.classList.remove("hit");
    row.classList.add("hit");
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center" });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#scene-"]');
    if (link) reveal(link.hash.slice(1));
  });

  // -- videos ------------------------------------------------------------------------------------
  const player = $("player"), video = player.querySelector("video"), problem = $("player-problem");
  body.addEventListener("click", (event) => {
    const link = event.target.closest("a.play");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    $("player-name").textContent = link.closest("tr").cells[1].textContent;
    problem.hidden = true;
    video.hidden = false;
    video.src = link.getAttribute("href");
    player.showModal();
    video.play().catch(() => {});
  });
  video.addEventListener("error", () => {
    if (!video.getAttribute("src")) return;
    problem.textContent = filled(problem.dataset.text, {
      file: decodeURIComponent(video.getAttribute("src").replace("./", "")),
    });
    problem.hidden = false;
    video.hidden = true;
  });
  player.addEventListener("close", () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
  });
  $("player-close").addEventListener("click", () => player.close());

  // -- the timeline ------------------------------------------------------------------------------
  const time = $("time");
  if (!time) return;
  const plot = $("plot"), drawing = plot.querySelector("svg"), tip = $("tip");
  const whole = Number(drawing.dataset.seconds), svg = "http://www.w3.org/2000/svg";
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const label = (seconds) => {
    if (seconds < 60) return String(Math.round(seconds * 10) / 10);
    const all = Math.round(seconds), two = (value) => String(value).padStart(2, "0");
    const minutes = Math.floor(all / 60) % 60, rest = two(all % 60);
    return all < 3600 ? `${minutes}:${rest}` : `${Math.floor(all / 3600)}:${two(minutes)}:${rest}`;
  };
  const draw = (tag, values, text = "") => {
    const made = document.createElementNS(svg, tag);
    for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const ticks = () => {
    const wanted = Math.max(2, drawing.clientWidth / 90);
    const step = steps.find((one) => whole / one <= wanted) ?? steps.at(-1);
    const parts = [];
    for (let i = 0; i * step <= whole && i < 2000; i += 1) {
      const x = `${100 * i * step / whole}%`;
      parts.push(draw("line", { x1: x, x2: x, y1: 18, y2: "100%", class: "tick" }));
      parts.push(draw("text", { x, y: 13, class: "axis", "text-anchor": i ? "middle" : "start" }, label(i * step)));
    }
    $("ticks").replaceChildren(...parts);
  };
  let zoom = 1;
  const most = Math.min(200, Math.max(1, 400000 / Math.max(1, plot.clientWidth)));
  const set = (wanted, at = 0.5) => {
    const before = plot.clientWidth, left = time.scrollLeft, view = time.clientWidth - 64;
    zoom = Math.min(most, Math.max(1, wanted));
    plot.style.removeProperty("width");
    plot.style.removeProperty("max-width");
    const base = plot.clientWidth;
    if (zoom > 1) {
      plot.style.maxWidth = "none";
      plot.style.width = `${base * zoom}px`;
    }
    time.scrollLeft = (left + at * view) * plot.clientWidth / before - at * view;
    ticks();
  };
  $("zoom-in").addEventListener("click", () => set(zoom * 1.6));
  $("zoom-out").addEventListener("click", () => set(zoom / 1.6));
  $("zoom-fit").addEventListener("click", () => set(1));
  time.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = time.getBoundingClientRect();
    set(zoom * Math.exp(-event.deltaY / 300), (event.clientX - box.left - 64) / (box.width - 64));
  }, { passive: false });
  time.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") set(zoom * 1.6);
    else if (event.key === "-") set(zoom / 1.6);
    else if (event.key === "0") set(1);
    else return;
    event.preventDefault();
  });
  const point = (event) => {
    const target = event.target.closest("[data-tip]");
    tip.hidden = !target;
    if (!target) return;
    tip.textContent = target.getAttribute("data-tip");
    const { width, height } = tip.getBoundingClientRect();
    const x = Math.min(event.clientX + 14, innerWidth - width - 8);
    const y = event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${Math.max(4, y)}px`;
  };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
  drawing.addEventListener("click", (event) => {
    const target = event.target.closest("[data-row]");
    if (target) reveal(target.getAttribute("data-row"));
  });
  addEventListener("resize", ticks);
  ticks();
})();
