// A PLC directory (in memory) and AT Protocol servers on loopback.
//
//   node network.mjs '{"folder": "/tmp/x", "servers": 2}'
//
// Options: folder (where data go; removed at the end), servers (how many), ports ([directory,
// server, server, ...]; missing or 0: a free one), pds (settings of every server, named as the
// ServerEnvironment of @atproto/pds names them: blobUploadLimit, rateLimitsEnabled, ...), plc (URL of
// a directory that another process runs; none is started then).
// Prints one JSON line when all of them answer. Ends when its standard input closes, and on
// SIGTERM and SIGINT.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import pdsModule, * as pdsNames from '@atproto/pds'
import plcModule, * as plcNames from '@did-plc/server'

const BIND = '127.0.0.1'
// What URLs say: the server refuses DIDs whose directory has an IP address for a name.
const HOST = 'localhost'
const { PDS, envToCfg, envToSecrets } = { ...pdsModule, ...pdsNames }
const { PlcServer, MockDatabase } = { ...plcModule, ...plcNames }

const options = JSON.parse(process.argv[2])
const secret = () => randomBytes(16).toString('hex')
const closers = []
const servers = []
let ending = false

async function end() {
  if (ending) return
  ending = true
  setTimeout(() => process.exit(1), 5000).unref()
  for (const close of closers.reverse()) await Promise.resolve(close()).catch(() => {})
  process.exit(0)
}

process.on('exit', () => rmSync(options.folder, { recursive: true, force: true }))
process.on('SIGTERM', end).on('SIGINT', end)
process.stdin.on('end', end).on('close', end).resume()

// The port is taken before its server exists, because the server must know its own URL; and the
// server gets the very socket, because left to itself it would listen on every interface.
async function takePort(port = 0) {
  const socket = createServer().listen(port, BIND)
  await once(socket, 'listening')
  return { socket, port: socket.address().port }
}

function listenOn(app, socket) {
  const listen = app.listen.bind(app)
  app.listen = () => listen(socket)
}

async function startDirectory() {
  const { socket, port } = await takePort(options.ports?.[0])
  const plc = PlcServer.create({ db: new MockDatabase(), port })
  listenOn(plc.app, socket)
  await plc.start()
  closers.push(() => plc.destroy())
  return `http://${HOST}:${port}`
}

async function findAccount(name) {
  for (const { pds } of servers) {
    const account = name && (await pds.ctx.accountManager.getAccount(name))
    if (account) return account
  }
}

// On the public network handles resolve through DNS or the handle's own host, and servers pass
// what they do not know to an application view. A laptop has no DNS for *.test: this stands in
// for both, with what the servers themselves know.
async function startView() {
  const answers = {
    'com.atproto.identity.resolveHandle': ({ did }) => ({ did }),
    'app.bsky.actor.getProfile': ({ did, handle }) => ({ did, handle }),
  }
  const view = createHttpServer(async (request, response) => {
    const url = new URL(request.url, 'http://view')
    const answer = answers[url.pathname.slice('/xrpc/'.length)]
    const name = url.searchParams.get('handle') ?? url.searchParams.get('actor')
    const account = answer && (await findAccount(name).catch(() => undefined))
    const [status, body] = account
      ? [200, answer(account)]
      : [400, { error: 'InvalidRequest', message: 'not found on this network' }]
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  view.listen(0, BIND)
  await once(view, 'listening')
  closers.push(() => view.close())
  return `http://${HOST}:${view.address().port}`
}

async function startServer(number, plcUrl, viewUrl) {
  const folder = join(options.folder, `server${number}`)
  mkdirSync(join(folder, 'data'), { recursive: true })
  const { socket, port } = await takePort(options.ports?.[number])
  const handleDomain = `.pds${number}.test`
  const environment = {
    port,
    hostname: HOST,
    serviceDid: `did:web:${HOST}%3A${port}`,
    devMode: true,
    disableSsrfProtection: true,
    dataDirectory: join(folder, 'data'),
    blobstoreDiskLocation: join(folder, 'blobs'),
    blobstoreDiskTmpLocation: join(folder, 'blobs-incoming'),
    didPlcUrl: plcUrl,
    bskyAppViewUrl: viewUrl,
    bskyAppViewDid: 'did:web:view.invalid',
    serviceHandleDomains: [handleDomain],
    inviteRequired: false,
    crawlers: [],
    rateLimitsEnabled: false,
    enableDidDocWithSession: true,
    adminPassword: secret(),
    jwtSecret: secret(),
    plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString('hex'),
    ...options.pds,
  }
  const settings = envToCfg(environment)
  const pds = await PDS.create(settings, envToSecrets(environment))
  listenOn(pds.app, socket)
  await pds.start()
  closers.push(() => pds.destroy())
  const { publicUrl: url, did } = settings.service
  const { adminPassword: admin_password, jwtSecret: jwt_secret } = environment
  return { pds, ready: { url, did, handle_domain: handleDomain, admin_password, jwt_secret } }
}

const plcUrl = options.plc ?? (await startDirectory())
const viewUrl = await startView()
for (let number = 1; number <= options.servers; number++) {
  servers.push(await startServer(number, plcUrl, viewUrl))
}
const ready = { pid: process.pid, plc_url: plcUrl, servers: servers.map(({ ready }) => ready) }
process.stdout.write(`${JSON.stringify(ready)}\n`)
