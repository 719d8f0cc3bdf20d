// Lets one application use one KV namespace, in the words of the KV REST API: a part of its paths, and its answers.
// Who does not know the secret TOKEN gets nothing. What it says is read by `store::CloudflareKv`.

export default {
  async fetch(request, env) {
    if (!(await isAllowed(request, env))) return failed(401, 10000, "expected the gateway's token");
    const url = new URL(request.url);
    const [, what, name] = /^\/(values|metadata|keys|bulk)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    const key = name && decodeURIComponent(name);
    try {
      switch (`${request.method} ${what}${key ? "/key" : ""}`) {
        case "GET values/key": {
          const value = await env.KV.get(key, "stream");
          return value ? new Response(value, { headers: dated() }) : failed(404, 10009, "key not found");
        }
        case "GET metadata/key": {
          const { value, metadata } = await env.KV.getWithMetadata(key, "stream");
          await value?.cancel();
          return value ? done(metadata) : failed(404, 10009, "key not found");
        }
        case "PUT values/key": {
          const form = await request.formData();
          const value = await form.get("value").arrayBuffer();
          await env.KV.put(key, value, options(url.searchParams.get("expiration_ttl"), JSON.parse(form.get("metadata"))));
          return done(null);
        }
        case "DELETE values/key":
          return done((await env.KV.delete(key)) ?? null);
        case "GET keys": {
          const { prefix, cursor } = Object.fromEntries(url.searchParams);
          const page = await env.KV.list({ prefix, cursor: cursor || undefined });
          return done(page.keys, { result_info: { count: page.keys.length, cursor: page.cursor ?? "" } });
        }
        case "PUT bulk": {
          const pairs = await request.json();
          const puts = await Promise.allSettled(pairs.map(({ key, value, expiration_ttl, metadata }) => {
            const bytes = Uint8Array.from(atob(value), (letter) => letter.charCodeAt(0));
            return env.KV.put(key, bytes, options(expiration_ttl, metadata));
          }));
          const unsuccessful_keys = pairs.filter((_, n) => puts[n].status === "rejected").map(({ key }) => key);
          return done({ successful_key_count: pairs.length - unsuccessful_keys.length, unsuccessful_keys });
        }
        default:
          return failed(404, 7003, "the gateway does not know this path or method");
      }
    } catch (error) {
      // Of KV itself: 429 for more than one write a second to a key, among others.
      return failed(Number(/failed: ([45]\d\d)/.exec(error.message)?.[1] ?? 500), 10001, error.message);
    }
  },
};

// In constant time, whatever the lengths.
async function isAllowed(request, { TOKEN }) {
  const digest = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const given = request.headers.get("authorization") ?? "";
  return Boolean(TOKEN) && crypto.subtle.timingSafeEqual(await digest(given), await digest(`Bearer ${TOKEN}`));
}

const options = (ttl, metadata) => ({ expirationTtl: ttl ? Number(ttl) : undefined, metadata });

// The application reads the service's time here.
const dated = () => ({ date: new Date().toUTCString() });

const done = (result, more) => Response.json({ success: true, errors: [], result, ...more }, { headers: dated() });

const failed = (status, code, message) =>
  Response.json({ success: false, errors: [{ code, message }], result: null }, { status, headers: dated() });
