// An OpenID Connect provider (oidc-provider, certified) on loopback whose tokens have the shape of Keycloak's: node provider.mjs PORT REDIRECT_URI.
// Prints "ready". Whoever comes has signed in already, as wang.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, redirect] = [Number(process.argv[2]), process.argv[3]];
const issuer = `http://127.0.0.1:${port}`;
const key = { ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }), kid: "peer", use: "sig", alg: "ES256" };
const shape = { typ: "Bearer", azp: "yizhan-services", acr: "1", sid: "s" };
const person = {
  sub: "f3a1c2d4", preferred_username: "wang", name: "Wang Xiaodong", sites: ["centre"],
  realm_access: { roles: ["operator", "offline_access", "default-roles-yizhan"] }, resource_access: { account: { roles: ["manage-account"] } },
};
const service = { preferred_username: "service-account-yizhan-services", sites: ["*"], realm_access: { roles: ["service"] } };
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "yizhan-console", client_secret: "console secret of the test", redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"],
      id_token_signed_response_alg: "ES256", token_endpoint_auth_method: "client_secret_post",
    },
    {
      client_id: "yizhan-services", client_secret: "services secret of the test", redirect_uris: [], response_types: [], grant_types: ["client_credentials"],
      id_token_signed_response_alg: "ES256",
    },
  ],
  jwks: { keys: [key] },
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ["sub", "sites", "realm_access", "resource_access"], profile: ["name", "preferred_username"] },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...person, sub }) }),
  extraTokenClaims: (_, token) => ({ ...shape, ...(token.kind === "ClientCredentials" ? service : person) }),
  cookies: { keys: ["a key of the test"] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:yizhan",
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({ scope: "", audience: resource === "urn:yizhan" ? "yizhan" : "elsewhere", accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } }),
    },
  },
  formats: { customizers: { jwt: (_, __, jwt) => { jwt.header = { ...jwt.header, typ: "JWT" }; return jwt; } } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid profile");
    grant.addResourceScope("urn:yizhan", "");
    await grant.save();
    return grant;
  },
});
const answer = provider.callback();
createServer(async (request, response) => {
  if (request.url.startsWith("/interaction/")) {
    await provider.interactionFinished(request, response, { login: { accountId: person.sub } }, { mergeWithLastSubmission: false });
  } else {
    answer(request, response);
  }
}).listen(port, "127.0.0.1", () => console.log("ready"));
