// An OpenID provider for the tests: the real one of npm, with clients, users and keys of ours. Commands
// come as lines of JSON on standard input, answers leave as lines of JSON on standard output.
//
// Tokens are given to users the way a page gets them: authorization code with PKCE (RFC 6749 §4.1,
// RFC 7636), every redirect followed by a scripted client.
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, randomUUID, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [host, port, certificate, key] = process.argv.slice(2);
const issuer = `https://${host}:${port}`;
const audience = "https://gatehouse.test";
const redirect = "https://app.test/back";

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" };
}

let keys = [newKey()];
let provider = newProvider();
// What the next token shall be like.
let wanted = {};
const requests = {};

function newProvider() {
  const made = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ["gatehouse"] },
    clients: [
      { client_id: "page", token_endpoint_auth_method: "none", redirect_uris: [redirect] },
      { client_id: "stranger", token_endpoint_auth_method: "none", redirect_uris: [redirect] },
      { client_id: "gatehouse", client_secret: "gatehouse-secret", redirect_uris: [], response_types: [], grant_types: [] },
    ],
    scopes: ["openid", "sip"],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
    extraTokenClaims: (_, token) => ({ preferred_username: token.accountId, ...wanted.claims }),
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope("openid sip");
      grant.addResourceScope(oidc.params.resource ?? audience, "sip");
      await grant.save();
      return grant;
    },
    features: {
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: "sip",
          audience: resource,
          accessTokenTTL: wanted.seconds ?? 600,
          accessTokenFormat: wanted.format ?? "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  made.on("server_error", (_, error) => process.stderr.write(`${error.stack}\n`));
  return made;
}

const options = { cert: await readFile(certificate), key: await readFile(key) };
let server;
function listen() {
  server = createServer(options, (request, response) => {
    const [path] = /^\/[^/?]*/.exec(request.url);
    requests[path] = (requests[path] ?? 0) + 1;
    provider.callback()(request, response);
  });
  return new Promise((ready) => server.listen(Number(port), host, ready));
}

/// Follows the redirects of a log-in as a browser does, until the page is called back.
async function logIn(user, client, resource) {
  const verifier = randomBytes(32).toString("base64url");
  const challenge = createHash("sha256").update(verifier).digest("base64url");
  const cookies = new Map();
  const go = async (url, form) => {
    const response = await fetch(url, {
      method: form ? "POST" : "GET",
      body: form && new URLSearchParams(form),
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
      redirect: "manual",
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const location = response.headers.get("location");
    if (!location) throw new Error(`no way on from ${url}: ${response.status} ${await response.text()}`);
    return new URL(location, issuer).href;
  };
  const question = new URLSearchParams({
    client_id: client,
    response_type: "code",
    redirect_uri: redirect,
    scope: "openid sip",
    resource,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  let url = await go(`${issuer}/auth?${question}`);
  url = await go(url, { prompt: "login", login: user, password: "any" });
  while (!url.startsWith(redirect)) url = await go(url);
  const back = new URL(url).searchParams;
  if (!back.get("code")) throw new Error(`not logged in: ${back}`);
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: client,
      code: back.get("code"),
      redirect_uri: redirect,
      code_verifier: verifier,
      resource,
    }),
  });
  const answer = await response.json();
  if (!answer.access_token) throw new Error(JSON.stringify(answer));
  return answer;
}

const commands = {
  /// A user's access token: `format` jwt or opaque, `seconds` to live, more `claims`.
  async token({ user, client = "page", resource = audience, ...more }) {
    wanted = more;
    const { access_token: token, id_token: identity } = await logIn(user, client, resource);
    return { token, identity };
  },
  /// A token that this provider would never give: any header and claims, without some, or as texts,
  /// signed with the current key or a key that nobody knows. No library would make all of these.
  async sign({ header = {}, claims = {}, without = [], headerText, claimsText, unknownKey = false }) {
    const jwk = unknownKey ? newKey() : keys[0];
    const now = Math.floor(Date.now() / 1000);
    const filled = { iss: issuer, aud: audience, sub: "nobody", iat: now, exp: now + 600, scope: "sip", client_id: "page", ...claims };
    const head = { alg: "RS256", typ: "at+jwt", kid: jwk.kid, ...header };
    for (const name of without) {
      delete filled[name];
      delete head[name];
    }
    const part = (text) => Buffer.from(text).toString("base64url");
    const signed = `${part(headerText ?? JSON.stringify(head))}.${part(claimsText ?? JSON.stringify(filled))}`;
    const signature = sign("sha256", Buffer.from(signed), createPrivateKey({ key: jwk, format: "jwk" }));
    return { token: `${signed}.${signature.toString("base64url")}` };
  },
  /// Signs with a new key from now on; the old ones stay published unless they are retired.
  async rotate({ retire = false }) {
    keys = retire ? [newKey()] : [newKey(), ...keys];
    provider = newProvider();
    return { kid: keys[0].kid };
  },
  /// RFC 7009.
  async revoke({ token, client = "page" }) {
    const response = await fetch(`${issuer}/token/revocation`, {
      method: "POST",
      body: new URLSearchParams({ token, client_id: client }),
    });
    return { status: response.status };
  },
  /// The provider is gone: connections are refused and those that are open are cut.
  async down() {
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    await closed;
  },
  async up() {
    await listen();
  },
  /// How often each path was asked for, by its first word.
  async requests() {
    return { ...requests };
  },
};

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

await listen();
say({ event: "ready", issuer });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...rest } = JSON.parse(line);
  await (commands[name]?.(rest) ?? Promise.reject(new Error(`no command ${name}`))).then(
    (result) => say({ id, result: result ?? null }),
    (error) => say({ id, error: String(error.message ?? error) }),
  );
}
process.exit(0);
