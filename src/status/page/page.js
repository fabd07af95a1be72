// Keeps what is shown up to date without moving what somebody is using, and says when there is no contact.
"use strict";
(() => {
  const search = document.getElementById("search");
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });
  document.querySelector("[aria-invalid]")?.focus();
  // Every action shows at once that it was taken, and is taken once.
  addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.target.method !== "post" || !button) return;
    if (button.dataset.taken) return event.preventDefault();
    button.dataset.taken = "yes";
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Taken …";
  });
  const parts = () => [...document.querySelectorAll("[data-live]")];
  if (parts().length < 2 || !window.EventSource) return;

  const news = document.getElementById("news");
  const stale = document.getElementById("stale");
  const waiting = new Map();
  let contact = new Date();
  let asking = false;
  let again = false;

  const isUsed = (part) => part.matches(":hover") ? !!part.querySelector("a,button,summary,input") : part.contains(document.activeElement);
  const put = (part, fresh) => {
    const open = [...part.querySelectorAll("details")].map((each) => each.open);
    part.className = fresh.className;
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll("details").forEach((each, n) => { each.open = open[n] ?? false; });
    waiting.delete(part);
  };
  const settle = () => {
    for (const [part, fresh] of waiting) if (!isUsed(part)) put(part, fresh);
  };
  addEventListener("pointermove", () => waiting.size && settle(), { passive: true });
  document.addEventListener("pointerleave", () => setTimeout(settle));
  addEventListener("focusout", () => setTimeout(settle));

  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const before = document.getElementById("sentence")?.textContent;
        for (const part of parts()) {
          const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
          if (!fresh || (fresh.innerHTML === part.innerHTML && fresh.className === part.className)) { waiting.delete(part); continue; }
          if (isUsed(part)) waiting.set(part, fresh); else put(part, fresh);
        }
        const now = document.getElementById("sentence")?.textContent;
        if (now && now !== before) news.textContent = now;
        touch();
      }
    } catch { /* the events say that there is no contact */ }
    setTimeout(() => { asking = false; if (again) { again = false; refresh(); } }, 700);
  };
  const touch = () => { contact = new Date(); stale.hidden = true; };
  const lost = () => {
    const at = contact.toLocaleTimeString([], { hour: "numeric", minute: "2-digit", hour12: false });
    stale.textContent = `No contact with the service since ${at}. What is shown may be old. Nothing is lost.`;
    stale.hidden = false;
  };

  let events;
  let timer;
  const listen = () => {
    events = new EventSource("/api/v1/events");
    events.addEventListener("open", () => { clearTimeout(timer); timer = undefined; touch(); });
    for (const name of ["status", "delivery", "alarm"]) events.addEventListener(name, () => { touch(); refresh(); });
    events.addEventListener("error", () => {
      timer ??= setTimeout(lost, 3000);
      if (events.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    });
  };
  // Relative times and countdowns go on while nothing happens.
  setInterval(() => { if (!document.hidden && stale.hidden) refresh(); }, 20000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  listen();
})();
