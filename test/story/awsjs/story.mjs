// What a story does with AWS's SDK for JavaScript. It prints one JSON object. Endpoint, Region and keys are in the environment.
import { CloudTrailClient, CreateChannelCommand, CreateEventDataStoreCommand, CancelQueryCommand, DeleteChannelCommand, GetQueryResultsCommand, StartQueryCommand,
  paginateLookupEvents, LookupEventsCommand } from "@aws-sdk/client-cloudtrail";
import { CloudWatchClient, ListMetricsCommand } from "@aws-sdk/client-cloudwatch";
import { IAMClient, ListUsersCommand } from "@aws-sdk/client-iam";
import { DescribeOrganizationCommand, OrganizationsClient } from "@aws-sdk/client-organizations";
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { createRequire } from "node:module";

const steps = [];
const refused = async (promise) => {
  try {
    await promise;
    return "no error";
  } catch (e) {
    return e.name;
  }
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const sts = new STSClient({});
const me = await sts.send(new GetCallerIdentityCommand({}));
steps.push(me.Arn);
const { Credentials: c } = await sts.send(new AssumeRoleCommand({ RoleArn: `arn:aws:iam::${me.Account}:role/Ask`, RoleSessionName: "js" }));
const session = { credentials: { accessKeyId: c.AccessKeyId, secretAccessKey: c.SecretAccessKey, sessionToken: c.SessionToken } };
steps.push((await new STSClient(session).send(new GetCallerIdentityCommand({}))).Arn);
steps.push((await new OrganizationsClient({}).send(new DescribeOrganizationCommand({}))).Organization.Id);
steps.push((await new IAMClient({}).send(new ListUsersCommand({}))).Users.map((u) => u.UserName).sort().join());

const admin = new CloudTrailClient({});
const trail = new CloudTrailClient(session);
const store = await admin.send(new CreateEventDataStoreCommand({
  Name: "outside-js",
  AdvancedEventSelectors: [{ FieldSelectors: [{ Field: "eventCategory", Equals: ["ActivityAuditLog"] }] }],
}));
const id = store.EventDataStoreArn.split("/").pop();
const channel = await admin.send(new CreateChannelCommand({ Name: "shop-js", Source: "Custom", Destinations: [{ Type: "EVENT_DATA_STORE", Location: store.EventDataStoreArn }] }));

// There is no client for CloudTrail Data on npm: its one operation is signed with the parts that the others are made of.
const require = createRequire(createRequire(import.meta.url).resolve("@aws-sdk/client-cloudtrail"));
const { SignatureV4 } = require("@smithy/signature-v4");
const { HttpRequest } = require("@smithy/core/transport");
const { Sha256 } = require("@smithy/core/checksum");
const endpoint = new URL(process.env.AWS_ENDPOINT_URL);
const body = JSON.stringify({ auditEvents: [{ id: "js-1", eventData: JSON.stringify({
  version: "1.0", userIdentity: { type: "person", principalId: "bea" }, eventSource: "shop.example.com", eventName: "PlaceOrder",
  eventTime: new Date().toISOString().slice(0, 19) + "Z", UID: "js-uid-1", recipientAccountId: me.Account }) }] });
const signer = new SignatureV4({ service: "cloudtrail-data", region: process.env.AWS_REGION, sha256: Sha256,
  credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY } });
const signed = await signer.sign(new HttpRequest({ method: "POST", protocol: endpoint.protocol, hostname: endpoint.hostname, port: Number(endpoint.port), path: "/PutAuditEvents",
  query: { channelArn: channel.ChannelArn }, headers: { "content-type": "application/json", host: endpoint.host }, body }));
const put = await fetch(`${endpoint.origin}/PutAuditEvents?channelArn=${encodeURIComponent(channel.ChannelArn)}`, { method: "POST", headers: signed.headers, body });
if (!put.ok) throw new Error(`put: ${put.status} ${await put.text()}`);

let query, rows = [];
for (let tries = 0; tries < 300 && rows.length === 0; tries++) {
  query = (await trail.send(new StartQueryCommand({ QueryStatement: `SELECT eventData.eventName AS what FROM ${id}` }))).QueryId;
  for (;;) {
    const page = await trail.send(new GetQueryResultsCommand({ QueryId: query }));
    if (page.QueryStatus === "FINISHED") {
      rows = page.QueryResultRows ?? [];
      break;
    }
    if (page.QueryStatus !== "QUEUED" && page.QueryStatus !== "RUNNING") throw new Error(`${page.QueryStatus} ${page.ErrorMessage}`);
    await sleep(20);
  }
  if (rows.length === 0) await sleep(100);
}
steps.push(rows[0]?.[0]?.what);
steps.push(await refused(trail.send(new DeleteChannelCommand({ Channel: channel.ChannelArn }))));
steps.push(await refused(trail.send(new CancelQueryCommand({ QueryId: query }))));
const two = { LookupAttributes: [{ AttributeKey: "EventName", AttributeValue: "CreateChannel" }, { AttributeKey: "Username", AttributeValue: "olga" }] };
steps.push((await refused(trail.send(new LookupEventsCommand(two)))) === "no error" ? "InvalidLookupAttributesException is not" : "refused"); // aws.lookup_extended
steps.push(await refused(new CloudWatchClient({}).send(new ListMetricsCommand({}))));
let pages = 0;
for (let tries = 0; tries < 100 && pages < 2; tries++) { // until what was called is in the history
  pages = 0;
  for await (const page of paginateLookupEvents({ client: trail, pageSize: 1 }, { LookupAttributes: [{ AttributeKey: "EventSource", AttributeValue: "sts.amazonaws.com" }] })) {
    if ((page.Events ?? []).length > 0) pages++;
  }
  if (pages < 2) await sleep(100);
}
steps.push(pages >= 2 ? "2 pages or more" : `${pages} pages`);
console.log(JSON.stringify({ Session: c.AccessKeyId, Query: query, Channel: channel.ChannelArn, Steps: steps }));
