// A small chart of how something went: an area or lines over time, with a reading under the pointer.
import { h, setText, svg } from "./dom.js";
import { count, t, time } from "./words.js";

const WIDTH = 600, HEIGHT = 150, TOP = 8;
/** What a top may be, times a power of ten. */
const STEPS = [1, 2, 3, 4, 5, 6, 8, 10];

/** The least round number that nothing is above: what is written beside the top line is then what it stands for. */
function roundTop(highest) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, highest)));
  return power * STEPS.find((step) => step * power >= highest);
}

/** `series`: [{name, key, area}] over samples with `at`. `update(samples)` draws anew. */
export class Chart {
  constructor({ title, series }) {
    this.series = series;
    this.title = title;
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.high = h("span.high.small.soft.number");
    this.values = series.map(() => h("b.number"));
    this.when = h("span.small.soft.number");
    const several = series.length > 1;
    this.reading = h("span.legend.reading", {}, this.when, ...series.map(({ name }, index) =>
      h("span.small", several ? { data: { series: String(index) } } : {}, several ? name : "", this.values[index])));
    this.from = h("span.small.soft.number");
    this.till = h("span.small.soft.number");
    this.figure = h("div.plot", { on: { pointermove: (event) => this.#read(event), pointerleave: () => this.#now() } }, this.picture);
    this.element = h("figure.chart", {},
      h("figcaption", {}, h("b", {}, title), this.reading),
      this.high, this.figure, h("div.axis", {}, this.from, this.till));
    this.samples = [];
  }

  update(samples) {
    this.samples = samples;
    if (samples.length === 0) return setText(this.when, t("chart.none"));
    const first = Date.parse(samples[0].at), last = Math.max(Date.parse(samples.at(-1).at), first + 1);
    const top = roundTop(Math.max(...samples.flatMap((sample) => this.series.map((s) => sample[s.key]))));
    const x = (sample) => ((Date.parse(sample.at) - first) / (last - first)) * WIDTH;
    const y = (value) => HEIGHT - (value / top) * (HEIGHT - TOP);
    const shapes = this.series.flatMap((s, index) => {
      const points = samples.map((sample) => `${x(sample).toFixed(1)},${y(sample[s.key]).toFixed(1)}`);
      const line = svg("polyline", { points: points.join(" "), class: `line s${index}`, "vector-effect": "non-scaling-stroke" });
      if (!s.area) return [line];
      return [svg("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`, class: "area" }), line];
    });
    this.cursor = svg("line", { y1: "0", y2: String(HEIGHT), class: "cursor", "vector-effect": "non-scaling-stroke", visibility: "hidden" });
    this.picture.replaceChildren(...shapes, this.cursor);
    setText(this.high, count(top));
    setText(this.from, time(samples[0].at));
    setText(this.till, t("chart.now"));
    const latest = samples.at(-1);
    const highest = (key) => Math.max(...samples.map((sample) => sample[key]));
    const words = this.series.map(({ name, key }) => t("chart.words", { name, now: count(latest[key]), high: count(highest(key)) }));
    this.picture.setAttribute("aria-label", `${this.title}. ${words.join(" ")}`);
    if (!this.reads) this.#now();
  }

  #show(sample, when) {
    setText(this.when, when);
    this.series.forEach((s, index) => setText(this.values[index], count(sample[s.key])));
  }

  #now() {
    this.reads = false;
    this.cursor?.setAttribute("visibility", "hidden");
    if (this.samples.length) this.#show(this.samples.at(-1), "");
  }

  #read(event) {
    if (this.samples.length < 2) return;
    const frame = this.figure.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - frame.left) / frame.width));
    const first = Date.parse(this.samples[0].at), last = Date.parse(this.samples.at(-1).at);
    const wanted = first + share * (last - first);
    const nearest = this.samples.reduce((a, b) => (Math.abs(Date.parse(a.at) - wanted) < Math.abs(Date.parse(b.at) - wanted) ? a : b));
    const at = ((Date.parse(nearest.at) - first) / (last - first)) * WIDTH;
    this.reads = true;
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, at.toFixed(1));
    this.cursor.setAttribute("visibility", "visible");
    this.#show(nearest, time(nearest.at));
  }
}
