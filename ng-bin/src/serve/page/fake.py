import json,sys,time,math,http.server
page=open('/tmp/axe/page.html','rb').read()
t0=time.time(); n=[0]
def live():
    n[0]+=1; t=time.time()-t0+n[0]
    return {"at_unix_ms":int(time.time()*1000),"uptime_s":4000+t,"ready":True,"state":"ready","version":"0.1.0",
    "tokens":{"live":7654321,"made_total":19876543,"deleted_total":12222222,"refused_total":17,"per_s":3.1e6+1e6*math.sin(n[0])},
    "log":{"kind":"log","backend":"uring","appended_lsn":19876543,"durable_lsn":19876001,"lag_p50_us":1480+200*math.sin(n[0]/2),"lag_p99_us":3900+900*math.sin(n[0]),"lag_bytes":34688,"stalls_total":4,"stall_ms_total":12.5,"drops_total":0,"bytes_total":1272098752,"poisoned":False},
    "memory":{"rss_bytes":580e6,"counted_bytes":489876544,"limit_bytes":1e9,"cgroup_limit_bytes":2147483648,"pressure":0.3},
    "quotas":[{"name":"tokens","used":7654321,"limit":10000000,"soft":0.8,"aggressive":0.95,"refused_total":0},{"name":"lane-7","used":870,"limit":1000,"soft":800,"aggressive":950,"refused_total":17}],
    "sampling":{"rate":0.01,"sampled_total":198765,"spans_written_total":198700,"spans_dropped_total":65},
    "refusals":[{"reason":"quota","total":17+n[0]}],
    "events":[{"at_unix_ms":int(time.time()*1000)-60000,"kind":"quota_soft","thread":"guardian","text":"pool lane-7 above its soft mark: 801 of 1000"},{"at_unix_ms":int(time.time()*1000)-4000,"kind":"log_stall","thread":"maker-0","text":"<b>waited</b> 3.1 ms for a block"}],
    "http":{"connections":3,"requests_total":991,"in_flight":1,"rejected_total":0},
    "stress":json.load(open('/tmp/stress.json')) if len(sys.argv)>2 else None}
class H(http.server.BaseHTTPRequestHandler):
    def log_message(s,*a): pass
    def do_GET(s):
        b,t=(page,'text/html') if s.path=='/' else (json.dumps(live()).encode(),'application/json') if s.path=='/v1/live' else (b'','')
        s.send_response(200 if b else 404); s.send_header('Content-Type',t); s.send_header('Content-Length',str(len(b))); s.end_headers(); s.wfile.write(b)
http.server.ThreadingHTTPServer(('127.0.0.1',int(sys.argv[1])),H).serve_forever()
