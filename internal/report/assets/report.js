"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  const theme = $("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  label();

  const open = () => {
    const d = location.hash.length > 1 && $(location.hash.slice(1));
    if (d && d.classList.contains("finding")) { d.hidden = false; d.open = true; d.scrollIntoView(); }
  };
  addEventListener("hashchange", open);
  document.querySelectorAll(".chart a").forEach((a) => a.addEventListener("click", () => setTimeout(open)));
  open();

  const controls = $("controls");
  if (!controls) return;
  const findings = [...document.querySelectorAll(".finding")].map((el) => ({
    el, level: el.dataset.level, actor: el.dataset.actor, text: el.textContent.toLowerCase(),
  }));
  const chips = [...controls.querySelectorAll(".chip")];
  const apply = () => {
    const levels = new Set(chips.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.level));
    const words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const actor = $("actor").value;
    let n = 0;
    for (const f of findings) {
      const show = levels.has(f.level) && (!actor || f.actor === actor) && words.every((w) => f.text.includes(w));
      f.el.hidden = !show;
      if (show) n++;
    }
    $("shown").textContent = n === findings.length ? n + " shown" : n + " of " + findings.length + " shown";
    $("none").hidden = n > 0;
  };
  controls.hidden = false;
  chips.forEach((c) => c.addEventListener("click", () => {
    c.setAttribute("aria-pressed", String(c.getAttribute("aria-pressed") !== "true"));
    apply();
  }));
  $("actor").addEventListener("change", apply);
  $("text").addEventListener("input", apply);
  $("all").addEventListener("click", () => {
    const openAll = $("all").textContent === "Open all";
    for (const f of findings) if (!f.el.hidden) f.el.open = openAll;
    $("all").textContent = openAll ? "Close all" : "Open all";
  });
  addEventListener("keydown", (e) => {
    if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { e.preventDefault(); $("text").focus(); }
  });
  apply();
})();
