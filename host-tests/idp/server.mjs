// An OpenID provider on loopback, and a control endpoint beside it that only tests know.
//
// Tokens, keys, introspection and logout tokens are oidc-provider's own. In front of it stands a handler that counts requests,
// gives the key set an ETag and a Cache-Control, of which oidc-provider sends neither, and misbehaves where it is told to.
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const JWKS = '/jwks';
const HOST = '127.0.0.1';
/** What becomes of an access token, by the resource that it is for. */
const JWT = (alg) => ({ scope: 'chat', audience: 'chat', accessTokenFormat: 'jwt', jwt: { sign: { alg } } });
const RESOURCES = {
  RS256: JWT('RS256'),
  ES256: JWT('ES256'),
  opaque: { scope: 'chat', audience: 'chat', accessTokenFormat: 'opaque' },
};
const resource = (format) => `urn:chat:${format}`;

/** A signing key of each algorithm. */
function newKeys() {
  return [['RS256', 'rsa', { modulusLength: 2048 }], ['ES256', 'ec', { namedCurve: 'P-256' }]].map(([alg, type, options]) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID(),
  }));
}

/** What oidc-provider stores; it outlives a rotation of the keys. */
const stored = new Map();
class Store {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) { stored.set(this.key(id), payload); }
  async find(id) { return stored.get(this.key(id)); }
  async findByUid(uid) { return [...stored.values()].find((value) => value.uid === uid); }
  async findByUserCode() { return undefined; }
  async destroy(id) { stored.delete(this.key(id)); }
  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async revokeByGrantId(grantId) {
    for (const [key, value] of stored) if (value.grantId === grantId) stored.delete(key);
  }
}

let issuer;
let logoutUri = 'http://127.0.0.1:9/backchannel-logout';
let keys = newKeys();
let provider;
let callback;

/** oidc-provider refuses to connect to special-use addresses. The gates of tests are on this one; others stay refused. */
function reach(url, { dispatcher, ...options }) {
  return fetch(url, new URL(url).hostname === HOST ? options : { ...options, dispatcher });
}

/** oidc-provider reads its keys and clients once: another one takes its place, with the same store. */
function provide() {
  const client = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'] };
  provider = new Provider(issuer, {
    adapter: Store,
    jwks: { keys },
    fetch: reach,
    cookies: { keys: ['tests'] },
    routes: { jwks: JWKS },
    scopes: ['openid', 'chat'],
    clients: [
      { ...client, client_id: 'gw', client_secret: 'gw-secret', token_endpoint_auth_method: 'client_secret_basic' },
      { ...client, client_id: 'chat', client_secret: 'chat-secret', backchannel_logout_uri: logoutUri, backchannel_logout_session_required: true },
    ],
    extraTokenClaims: (_, { sessionUid: sid }) => (sid ? { sid } : undefined),
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === 'gw' },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator) => RESOURCES[indicator.split(':').pop()],
      },
    },
  });
  callback = provider.callback();
}

/** An access token of a session, from oidc-provider's model. */
async function token({ sub, format, sid = randomUUID() }) {
  const client = await provider.Client.find('chat');
  const grant = new provider.Grant({ accountId: sub, clientId: 'chat' });
  grant.addResourceScope(resource(format), 'chat');
  const made = new provider.AccessToken({
    accountId: sub, client, grantId: await grant.save(), gty: 'authorization_code', scope: 'chat',
    sessionUid: sid,
  });
  made.resourceServer = new provider.ResourceServer(resource(format), RESOURCES[format]);
  const value = await made.save();
  return { token: value, sid };
}

const controls = {
  token,
  async rotate({ keep_old: keepOld }) {
    keys = keepOld ? [...newKeys(), ...keys] : newKeys();
    provide();
  },
  /** Publishes the newest keys alone. */
  async drop_old() { keys = keys.slice(0, 2); provide(); },
  async mode({ mode: next }) {
    if (!MODES.includes(next)) throw new Error(`no mode ${next}`);
    mode = next;
  },
  async counts() { return counts; },
  async logout_uri({ uri }) { logoutUri = uri; provide(); },
  async logout({ sub, sid }) { await (await provider.Client.find('chat')).backchannelLogout(sub, sid); },
};

const MODES = ['fine', 'down', 'slow', 'flap', 'html', 'large', 'endless', 'duplicate', 'redirect'];
const SLOW_MS = 3_000;
const LARGE_BYTES = 10 * 1024 * 1024;
let mode = 'fine';
let flaps = 0;
const counts = {};

/** Answers the key set as no provider should; false where the mode has no answer of its own. */
function misbehave(response) {
  const chunk = ' '.repeat(64 * 1024);
  switch (mode) {
    case 'html': response.setHeader('content-type', 'text/html'); response.end('<html>Sign in</html>'); return true;
    case 'large': response.setHeader('content-type', 'application/json'); response.end(' '.repeat(LARGE_BYTES)); return true;
    case 'redirect': response.writeHead(302, { location: `${issuer}/elsewhere` }).end(); return true;
    case 'endless': {
      const more = () => { while (!response.destroyed && response.write(chunk)); };
      response.on('drain', more);
      more();
      return true;
    }
    default: return false;
  }
}

/** The key set of oidc-provider with what a cache wants. */
function cacheable(request, response) {
  const end = response.end.bind(response);
  response.end = (body, ...rest) => {
    if (response.statusCode !== 200 || !body) return end(body, ...rest);
    if (mode === 'duplicate') {
      const set = JSON.parse(body);
      body = JSON.stringify({ keys: [...set.keys, ...set.keys] });
      response.setHeader('content-length', Buffer.byteLength(body));
    }
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
    response.setHeader('etag', etag);
    response.setHeader('cache-control', 'max-age=60');
    if (request.headers['if-none-match'] !== etag) return end(body, ...rest);
    response.statusCode = 304;
    response.removeHeader('content-length');
    return end();
  };
}

async function front(request, response) {
  const { pathname } = new URL(request.url, issuer);
  const count = counts[pathname] ??= { requests: 0, if_none_match: 0 };
  count.requests += 1;
  if (request.headers['if-none-match']) count.if_none_match += 1;
  if (mode === 'flap' && flaps++ % 2 === 0) return request.socket.destroy();
  if (mode === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
  if (pathname === JWKS) {
    if (misbehave(response)) return undefined;
    cacheable(request, response);
  }
  return callback(request, response);
}

async function control(request, response) {
  try {
    let body = '';
    for await (const part of request) body += part;
    const answer = await controls[request.url.slice(1)](JSON.parse(body || '{}'));
    if (mode === 'down') await close();
    else await listen(server.address()?.port ?? port);
    response.end(JSON.stringify(answer ?? {}));
  } catch (error) {
    response.writeHead(500).end(JSON.stringify({ error: `${error.message}: ${error.cause ?? ''}` }));
  }
}

const server = createServer(front);
let port = Number(process.argv[2] ?? 0);
async function listen(at) {
  if (server.listening) return;
  await new Promise((resolve, reject) => server.once('error', reject).listen(at, HOST, resolve));
  port = server.address().port;
}
async function close() {
  if (!server.listening) return;
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

await listen(port);
issuer = `http://${HOST}:${port}`;
provide();
const controller = createServer(control).listen(0, HOST, () => {
  console.log(JSON.stringify({ issuer, port, control: controller.address().port }));
});
