// Verifies tokens with jose. stdin: {"tokens": [token, ...], "keys": {kid: PEM of the public half}, "clock": Unix seconds}.
// stdout: the claims of each token. One that jose refuses ends it with an error.
import { readFileSync } from "node:fs";
import { importSPKI, jwtVerify } from "jose";

const { tokens, keys, clock } = JSON.parse(readFileSync(0, "utf8"));
const publicKeys = new Map();
for (const [kid, pem] of Object.entries(keys)) publicKeys.set(kid, await importSPKI(pem, "ES256"));
const claims = [];
for (const token of tokens) {
  const { payload } = await jwtVerify(token, ({ kid }) => publicKeys.get(kid), {
    algorithms: ["ES256"],
    audience: ["appstoreconnect-v1", "apple-developer-enterprise-v1"],
    currentDate: new Date(clock * 1000),
    maxTokenAge: 1200,
    typ: "JWT",
  });
  claims.push(payload);
}
process.stdout.write(JSON.stringify(claims));
