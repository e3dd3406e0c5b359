// What the page does once it is open: it draws the charts as they come near, in the look of the
// reader's setting, makes the tables sort, search and copy, and shows where in the page one is.
(() => {
  "use strict";
  const looks = JSON.parse(document.getElementById("reach-looks").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { displaylogo: false, responsive: true };
  let printing = false;

  const look = () => looks[dark.matches && !printing ? "dark" : "light"];

  // ---- charts
  const drawn = new Set();
  function draw(place) {
    if (drawn.has(place)) return;
    drawn.add(place);
    const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    return Plotly.newPlot(place, figure.data, { ...figure.layout, template: look() }, config);
  }
  const relook = () => drawn.forEach((place) => Plotly.relayout(place, { template: look() }));
  dark.addEventListener("change", relook);

  // One at a time, so that the page answers in between.
  const waiting = [];
  let busy = false;
  function next() {
    if (busy || !waiting.length) return;
    busy = true;
    setTimeout(() => {
      waiting.shift()();
      busy = false;
      next();
    });
  }
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        near.unobserve(entry.target);
        waiting.push(() => begin(entry.target));
      }
      next();
    },
    { rootMargin: "600px 0px" },
  );
  const begin = (place) => (place.matches("table") ? enhance(place) : draw(place));
  document.querySelectorAll(".plot, table.data").forEach((place) => near.observe(place));

  // ---- tables
  // What a cell is copied as; a text that a spreadsheet would run begins with an apostrophe.
  const runs = /^[\s\p{Cf}]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20\t\r]/u;
  function raw(inner, row, column, node) {
    const value = node.dataset.value !== undefined ? node.dataset.value : node.textContent;
    return !node.classList.contains("n") && runs.test(value) ? `'${value}` : value;
  }
  const heading = (inner, column, node) => node.querySelector(".dt-column-title")?.textContent ?? node.textContent;
  function enhance(table) {
    const few = table.tBodies[0].rows.length <= 10;
    const of = (kind) => [...table.tHead.rows[0].cells].flatMap((cell, n) => (cell.classList.contains(kind) ? [n] : []));
    const [hidden, numeric] = [of("id"), of("n")];
    const exportOptions = { format: { body: raw, header: heading }, stripHtml: false };
    const name = table.dataset.name;
    new DataTable(table, {
      order: [],
      autoWidth: false,
      pageLength: 10,
      lengthMenu: [10, 25, 100, { label: "all", value: -1 }],
      paging: !few,
      info: !few,
      columnDefs: [
        { targets: hidden, visible: false },
        { targets: numeric, orderSequence: ["desc", "asc", ""] },
      ],
      language: { search: "", searchPlaceholder: "Search", lengthMenu: "_MENU_ rows", info: "_START_–_END_ of _TOTAL_" },
      layout: {
        topStart: few ? null : "search",
        topEnd: {
          buttons: [
            { extend: "copy", text: "Copy", title: null, exportOptions },
            { extend: "csv", text: "CSV", filename: name, bom: false, exportOptions },
          ],
        },
        bottomStart: few ? null : ["pageLength", "info"],
        bottomEnd: few ? null : "paging",
      },
    });
  }

  // ---- contents
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new Set();
  const spy = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const first = [...links.keys()].find((id) => seen.has(id));
      links.forEach((link, id) => {
        if (id === first) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      });
    },
    { rootMargin: "-10% 0px -60% 0px" },
  );
  document.querySelectorAll(".topic").forEach((topic) => spy.observe(topic));

  // ---- how old the page is, by the reader's clock
  const old = Date.now() - Date.parse(document.querySelector("time").dateTime);
  const units = [["day", 864e5], ["hour", 36e5], ["minute", 6e4]];
  const unit = units.find(([, size]) => old >= size);
  if (unit) {
    const count = Math.floor(old / unit[1]);
    const over = old >= 36e5 ? "; what waited then may be over" : "";
    document.getElementById("old").textContent = `, ${count.toLocaleString("en")} ${unit[0]}${count === 1 ? "" : "s"} ago${over}`;
  }

  // ---- print: all charts, in light, as wide as the paper
  const WIDTH = 690;
  const PRINTED = 50; // rows of a table
  const enhanced = () => [...document.querySelectorAll("table.dataTable")].map((table) => new DataTable.Api(table));
  addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("table.data").forEach((table) => {
      if (!table.classList.contains("dataTable")) enhance(table);
    });
    enhanced().forEach((table) => table.page.len(PRINTED).draw());
    document.querySelectorAll(".plot").forEach((place) => {
      draw(place);
      Plotly.relayout(place, { template: look(), width: WIDTH });
    });
  });
  addEventListener("afterprint", () => {
    printing = false;
    enhanced().forEach((table) => table.page.len(10).draw());
    drawn.forEach((place) => Plotly.relayout(place, { template: look(), width: null, autosize: true }));
  });
})();
