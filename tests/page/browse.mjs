// What a person does on the page, one function a story; told which, where, and where the clinic's folders are.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [what, url, home] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const pictures = process.env.CHARTDROP_PICTURES;

const browser = await chromium.launchPersistentContext(process.env.CHARTDROP_BROWSER_HOME, {
  executablePath: "/usr/bin/chromium",
  headless: true,
  ignoreHTTPSErrors: true,
  viewport: { width: 1180, height: 1010 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage();
page.setDefaultTimeout(30000);
const complaints = [];
page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("dialog", (dialog) => { complaints.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });

const go = (path) => page.goto(url + path);
const text = () => page.locator("main").innerText();
const sentence = () => page.locator("#sentence").innerText();

// A picture in both themes, and what axe finds in them.
async function look(name, { width = 1180, height = 1010 } = {}) {
  await page.setViewportSize({ width, height });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const run = `${axe}; axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })`;
    const found = await page.evaluate(run);
    const serious = found.violations.filter((each) => ["serious", "critical"].includes(each.impact));
    assert.deepEqual(serious.map((each) => [each.id, each.nodes.map((node) => `${node.html} ${node.failureSummary}`)]), [], `${name}, ${colorScheme}`);
    const overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
    assert.ok(overflow <= 0, `${name}: ${overflow} pixels too wide`);
    if (pictures) {
      mkdirSync(pictures, { recursive: true });
      await page.screenshot({ path: `${pictures}/${name}-${colorScheme}.png`, fullPage: true });
    }
  }
}

const stories = {
  async empty() {
    await go("/");
    assert.equal(await sentence(), "Everything is going out.");
    assert.match(await text(), /Documents appear here as soon as/);
    assert.ok((await text()).includes(`${home}/inbox`));
    await look("empty");
    await go("/documents");
    assert.match(await text(), /Every document that chartdrop has read is listed here/);
    await look("documents-empty");
  },
  async "all-well"() {
    await go("/");
    assert.equal(await sentence(), "Everything is going out.");
    assert.match(await text(), /letter\.pdf/);
    assert.doesNotMatch(await text(), /Needs you/);
    await look("all-well");
  },
  async "needs-somebody"() {
    await go("/");
    assert.equal(await sentence(), "2 documents need somebody. Everything else is going out.");
    const card = page.locator(".card", { hasText: "referral cardiology.pdf" });
    const note = readFileSync(`${home}/failed/bixby/referral cardiology.pdf.reason.txt`, "utf8").replace(/\s+/g, " ");
    for (const part of [".what", ".do"]) {
      const words = (await card.locator(part).innerText()).replace("What to do: ", "");
      assert.ok(note.includes(words.replace(/\s+/g, " ")), `the note says the same: ${words}`);
    }
    assert.equal(await page.locator("main img").count(), 0, "a name is never markup");
    assert.match(await text(), /<img src=x onerror=alert\(1\)> & "quotes" 100% %E2%80%AEfdp\.pdf/);
    await look("needs-somebody");
    await look("needs-somebody-phone", { width: 390, height: 844 });
    await card.getByRole("link", { name: "Its story" }).click();
    await page.locator("h1", { hasText: "referral cardiology.pdf" }).waitFor();
    await page.getByText("Details for support").click();
    await look("story-failed");
    await look("story-failed-phone", { width: 390, height: 844 });
  },
  async retry() {
    await go("/");
    await page.getByRole("link", { name: "Try again" }).click();
    await page.getByLabel("Your name").fill("G. Adams");
    await look("ask-retry");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("Taken. It is tried again").waitFor();
    await look("taken");
    // The refused file's story is over; what became of it is a story of its own, found by its name.
    await page.getByText("is not in the failed folder any more").waitFor();
    await page.getByRole("link", { name: "Find it by its name" }).click();
    await page.locator(".tag.ok").waitFor();
    await page.locator(".rows li", { has: page.locator(".tag.ok") }).getByRole("link").click();
    await page.getByText("Redox accepted it").waitFor();
    await look("story-accepted");
    // The name is known from now on; what may put a document into the chart twice asks all the same.
    await page.getByRole("link", { name: "Send again" }).click();
    assert.match(await text(), /the document will be in the chart twice/);
    assert.equal(await page.getByLabel("Your name").inputValue(), "G. Adams");
    await look("ask-send-again");
    await page.getByRole("link", { name: "Leave it as it is" }).click();
    await page.getByText("Redox accepted it").waitFor();
  },
  async "hold-and-close"() {
    await go("/");
    await page.locator(".rows a", { hasText: "held.pdf" }).first().waitFor();
    await page.locator("#sentence", { hasText: "is paused" }).waitFor();
    assert.match(await sentence(), /1 document waits/, "and not twice");
    await look("paused-with-documents");
    await page.locator(".rows a", { hasText: "held.pdf" }).first().click();
    await page.getByText("Hold it").click();
    await page.getByText("It waits for a decision").waitFor();
    await look("story-held");
    await page.getByText("Let it go on").click();
    await page.getByText("Taken. It goes on").waitFor();
    await page.getByText("Hold it").click();
    await page.getByText("It waits for a decision").waitFor();
    await go("/");
    await page.locator(".card", { hasText: "held.pdf" }).getByText("Do not send it").click();
    // Without a reason it is not done, whatever the browser checks.
    await page.locator("#reason").evaluate((field) => field.removeAttribute("required"));
    await page.getByRole("button", { name: "Do not send it" }).click();
    await page.getByText("Say why").waitFor();
    complaints.length = 0;
    await look("ask-close");
    await page.getByLabel("Why").fill("wrong scan");
    await page.getByRole("button", { name: "Do not send it" }).click();
    await page.getByText("Taken. It is closed").waitFor();
  },
  async live() {
    await go("/");
    assert.doesNotMatch(await text(), /live\.pdf/);
    writeFileSync(`${home}/page-is-open`, "");
    await page.locator("section", { has: page.locator("#accepted") }).getByText("live.pdf").waitFor();
    // What somebody has the pointer on stays where it is.
    writeFileSync(`${home}/seen`, "");
  },
  async patients() {
    await go("/");
    await page.getByRole("link", { name: "Patients" }).click();
    await look("patients-empty");
    const find = async (text) => {
      await page.getByLabel("Name, number or birth date").fill(text);
      await page.getByRole("button", { name: "Find", exact: true }).click();
      await page.waitForURL((url) => url.searchParams.get("text") === text);
      return page.locator(".people li").count();
    };
    assert.equal(await find("nobody"), 0);
    assert.match(await text(), /Nobody on the list is like that/);
    for (const asked of ["oka", "OKAFOR chi", "0000000077", "1985-03-01"]) assert.equal(await find(asked), 1, asked);
    assert.equal(await find("00000000"), 3);
    assert.match(await text(), /Timothy Paul\n?.*has a folder/s);
    assert.match(await text(), /dóttir <b>/);
    await look("patients");
    await page.getByRole("button", { name: "Make the folder of Okafor, Chidi" }).click();
    await page.getByText("The folder is there.").waitFor();
    assert.ok((await text()).includes(`${home}/inbox/0000000077 Okafor`));
    await look("patients-made");
    // The document lands, lacks its description, and is given one.
    await go("/");
    await page.getByRole("link", { name: "Describe it" }).first().waitFor();
    await look("waits-for-description");
    await page.getByRole("link", { name: "Describe it" }).first().click();
    await look("describe");
    await look("describe-phone", { width: 390, height: 844 });
    await page.getByLabel("Title").fill('Letter "from" cardiology');
    await page.getByLabel("Type").selectOption({ label: "Referral note" });
    await page.getByLabel("NPI").fill("1234567890");
    await page.getByLabel("Family name").fill("Adams");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("is not a valid National Provider Identifier").waitFor();
    await look("describe-wrong");
    // What was typed is still there.
    assert.equal(await page.getByLabel("Title").inputValue(), 'Letter "from" cardiology');
    await page.getByLabel("NPI").fill("1234567893");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Taken. The description is written").waitFor();
    complaints.length = 0;
  },
  async login() {
    // Programs are told so, and nobody sees anything.
    const bare = await browser.request.get(`${url}/api/v1/deliveries`, { headers: { accept: "application/json" } });
    assert.equal(bare.status(), 401);
    assert.equal((await browser.request.get(`${url}/metrics`, { headers: { accept: "*/*" } })).status(), 401);
    assert.equal((await browser.request.get(`${url}/healthz`)).status(), 200);
    await go("/documents?state=rejected");
    await page.waitForURL(/login\?next=/);
    await look("login");
    const enter = async (password) => {
      await page.getByLabel("Name", { exact: true }).fill("Grace Adams");
      await page.getByLabel("Password").fill(password);
      await page.getByRole("button", { name: "Log in" }).click();
    };
    await enter("wrong horse battery");
    await page.getByText("The name or the password is not right.").waitFor();
    await look("login-wrong");
    await enter("correct horse battery");
    await page.waitForURL(/documents\?state=rejected/);
    const [cookie] = (await browser.cookies()).filter((each) => each.name === "chartdrop");
    assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite], [true, true, "Strict"]);
    await page.locator(".rows").getByRole("link", { name: "referral.pdf" }).click();
    await look("logged-in");
    // Whoever has logged in is not asked for a name.
    await page.getByRole("button", { name: "Log out" }).waitFor();
    writeFileSync(`${home}/inbox/bixby/second.pdf`, readFileSync(`${home}/failed/bixby/referral.pdf`));
    await go("/");
    await page.locator("section", { has: page.locator("#accepted") }).getByText("second.pdf").click();
    await page.getByRole("link", { name: "Send again" }).click();
    assert.equal(await page.getByLabel("Your name").count(), 0);
    await page.getByRole("button", { name: "Send again" }).click();
    await page.getByText("Taken. It is sent as a new message").waitFor();
    await page.getByText("by Grace Adams").waitFor();
    // Logging out ends the session at the service, not in the browser alone.
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL(/login/);
    const after = await browser.request.get(`${url}/api/v1/status`, { headers: { cookie: `chartdrop=${cookie.value}` } });
    assert.equal(after.status(), 401);
    await enter("correct horse battery");
    await page.locator("#sentence").waitFor();
    writeFileSync(`${home}/logged-in`, "");
    while (!existsSync(`${home}/removed`)) await new Promise((done) => setTimeout(done, 20));
    await go("/");
    await page.waitForURL(/login/);
    // Too many tries have to wait, also with the right password.
    for (let n = 0; n < 6; n++) {
      const answered = page.waitForResponse((answer) => answer.request().method() === "POST");
      await enter("wrong horse battery");
      await answered;
      await page.locator("#problem").waitFor();
    }
    await page.getByText("Too many tries").waitFor();
    complaints.length = 0;
  },
  async "search-and-keyboard"() {
    await go("/");
    // In the order of reading, and always visible.
    const stops = [];
    for (let n = 0; n < 7; n++) {
      await page.keyboard.press("Tab");
      stops.push(await page.evaluate("(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"));
      const outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
      assert.equal(outline, "solid", `the focus is visible on ${stops.at(-1)}`);
    }
    assert.deepEqual(stops.slice(0, 6), ["Skip to the content", "chartdrop", "Today", "All documents", "Service", "Find a document by name, folder or number"]);
    await page.evaluate("document.activeElement.blur()");
    await page.keyboard.press("/");
    await page.keyboard.type("LAB 1");
    await page.keyboard.press("Enter");
    await page.waitForURL(/documents/);
    assert.equal(await page.locator(".rows li").count(), 1);
    assert.match(await text(), /lab 1\.pdf/);
    await look("found");
    await go("/documents?text=nothing+like+it");
    assert.match(await text(), /No document is like that/);
    await look("found-nothing");
    await go("/documents?state=accepted");
    assert.equal(await page.locator(".rows li").count(), 3);
    await go("/documents?state=nonsense&day=x&cursor=%00");
    assert.match(await text(), /is not a state/);
    await go("/documents");
    await look("documents");
    await look("documents-phone", { width: 390, height: 844 });
    await go("/");
    await look("long-name-phone", { width: 390, height: 844 });
  },
  async "other-pages"() {
    await go("/service");
    await page.getByText("redox-fhir-sandbox").first().waitFor();
    await look("service");
    await page.getByLabel("Your name").fill("G. Adams");
    await page.getByRole("button", { name: "Pause sending" }).click();
    await page.getByRole("button", { name: "Resume sending" }).waitFor();
    await look("service-paused");
    await go("/");
    assert.match(await sentence(), /is paused/);
    await look("paused");
    await go("/service");
    await page.getByRole("button", { name: "Resume sending" }).click();
    await page.getByRole("button", { name: "Pause sending" }).waitFor();
    const nowhere = await go("/nowhere");
    assert.equal(nowhere.status(), 404);
    await look("nowhere");
    const none = await go("/deliveries/00000000-0000-4000-8000-000000000000");
    assert.equal(none.status(), 404);
    assert.match(await text(), /There is no delivery/);
    complaints.length = 0;
  },
  async "other-site"() {
    const headers = (await go("/")).headers();
    assert.match(headers["content-security-policy"], /default-src 'none'.*frame-ancestors 'none'/);
    assert.equal(headers["cache-control"], "no-store");
    const listed = await (await fetch(`${url}/api/v1/deliveries`)).json();
    const path = `${url}/deliveries/${listed.deliveries[0].id}/retry`;
    const post = (headers, body) => fetch(path, { method: "POST", redirect: "manual", headers: { "content-type": "application/x-www-form-urlencoded", ...headers }, body });
    assert.equal((await post({ origin: "http://evil.example" }, "by=x&token=x")).status, 403);
    assert.equal((await post({}, "by=x&token=00")).status, 409, "no token of this browser");
    assert.equal((await post({}, "by=x")).status, 422);
    // The token alone is worth nothing in another browser.
    await go(new URL(path).pathname);
    const token = await page.locator("input[name=token]").first().inputValue();
    assert.equal((await post({}, `by=x&token=${token}`)).status, 409);
    complaints.length = 0;
  },
};

try {
  await stories[what]();
  assert.deepEqual(complaints, [], "the browser complains");
} catch (error) {
  console.error(error);
  if (pictures) await page.screenshot({ path: `${pictures}/failed-${what}.png`, fullPage: true }).catch(() => {});
  console.error(await page.locator("body").innerText().catch(() => ""));
  const waiting = await browser.request.get(`${url}/api/v1/waiting`).catch(() => undefined);
  console.error(await waiting?.text(), await page.evaluate("document.readyState").catch(() => ""));
  process.exitCode = 1;
} finally {
  await browser.close();
}
