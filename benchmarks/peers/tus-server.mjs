// Plain @tus/server with @tus/file-store on node:http, as its documentation starts it. Environment: PORT, DIR.
import http from 'node:http'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const tus = new Server({ path: '/files', datastore: new FileStore({ directory: process.env.DIR }) })
http.createServer((req, res) => void tus.handle(req, res)).listen(Number(process.env.PORT), '127.0.0.1')
