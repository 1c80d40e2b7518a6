// Package metrics gives figures to Prometheus, in its text format and in OpenMetrics: those that parts of the service keep
// are read when they are asked for, and those of HTTP requests are kept here.
//
// Every family is declared before it is used, with its labels, so that documentation is written from the same table. There is
// no registry but the one that New makes.
package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Kind is what a figure does over time.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only rises; from 0 at each start
	Gauge     Kind = "gauge"     // rises and falls
	Histogram Kind = "histogram" // of durations, in seconds
)

// Family is a figure, or one for each set of labels.
type Family struct {
	Name   string
	Kind   Kind
	Help   string // with the unit
	Labels []string
}

// Put gives a figure of a family, with the values of its labels in their order.
type Put func(name string, value float64, labels ...string)

// Part is something that keeps figures.
type Part struct {
	Name     string // in the figure that counts failures to read it
	Families []Family
	// Read puts the figures of now. What it put counts also when it returns an error. It may be called concurrently.
	Read func(ctx context.Context, put Put) error
}

const (
	scrapeTime  = 10 * time.Second // that parts have to give their figures
	readErrors  = "spoor_metrics_errors_total"
	httpTotal   = "spoor_http_requests_total"
	httpSeconds = "spoor_http_request_seconds"
	httpActive  = "spoor_http_requests_active"
	awsTotal    = "spoor_aws_calls_total"
	awsSeconds  = "spoor_aws_call_seconds"
	awsActive   = "spoor_aws_calls_active"
)

// own are the families of this package.
func own() []Family {
	return []Family{
		{httpTotal, Counter, "Requests that were answered, by route and status; the route other is of requests without one.", []string{"route", "status"}},
		{httpSeconds, Histogram, "Seconds from the head of a request to the end of its answer, by route. Live tails are not in it.", []string{"route"}},
		{httpActive, Gauge, "Requests that are under way.", nil},
		{awsTotal, Counter, "Calls of AWS's clients that were answered, by service, operation and error code; ok for none, other for what is not served.", []string{"service", "operation", "code"}},
		{awsSeconds, Histogram, "Seconds from the head of a call of AWS's clients to the end of its answer, by service.", []string{"service"}},
		{awsActive, Gauge, "Calls of AWS's clients that are under way.", nil},
		{readErrors, Counter, "Times that the figures of a part could not be read.", []string{"part"}},
	}
}

// Registry answers scrapes.
type Registry struct {
	reg    *prometheus.Registry
	log    *slog.Logger
	parts  []Part
	descs  map[string]*prometheus.Desc
	kinds  map[string]Kind
	total  *prometheus.CounterVec
	took   *prometheus.HistogramVec
	active prometheus.Gauge
	errors *prometheus.CounterVec

	awsTotal  *prometheus.CounterVec
	awsTook   *prometheus.HistogramVec
	awsActive prometheus.Gauge
}

// New makes a registry of parts, of the Go runtime and of the process. It is an error when families are declared twice or
// not as Prometheus wants them.
func New(log *slog.Logger, parts ...Part) (*Registry, error) {
	r := &Registry{reg: prometheus.NewPedanticRegistry(), log: log, parts: parts, descs: map[string]*prometheus.Desc{}, kinds: map[string]Kind{}}
	mine := map[string]Family{}
	for _, f := range own() {
		mine[f.Name] = f
	}
	r.total = prometheus.NewCounterVec(prometheus.CounterOpts{Name: httpTotal, Help: mine[httpTotal].Help}, mine[httpTotal].Labels)
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	r.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: httpSeconds, Help: mine[httpSeconds].Help, Buckets: buckets}, mine[httpSeconds].Labels)
	r.awsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{Name: awsTotal, Help: mine[awsTotal].Help}, mine[awsTotal].Labels)
	r.awsTook = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: awsSeconds, Help: mine[awsSeconds].Help, Buckets: buckets}, mine[awsSeconds].Labels)
	r.awsActive = prometheus.NewGauge(prometheus.GaugeOpts{Name: awsActive, Help: mine[awsActive].Help})
	r.active = prometheus.NewGauge(prometheus.GaugeOpts{Name: httpActive, Help: mine[httpActive].Help})
	r.errors = prometheus.NewCounterVec(prometheus.CounterOpts{Name: readErrors, Help: mine[readErrors].Help}, mine[readErrors].Labels)
	for _, p := range parts {
		r.errors.WithLabelValues(p.Name)
		for _, f := range p.Families {
			if r.descs[f.Name] != nil {
				return nil, fmt.Errorf("the figure %s is declared twice", f.Name)
			}
			r.descs[f.Name], r.kinds[f.Name] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil), f.Kind
		}
	}
	for _, c := range []prometheus.Collector{r.total, r.took, r.active, r.errors, r.awsTotal, r.awsTook, r.awsActive, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), (*collector)(r)} {
		if err := r.reg.Register(c); err != nil {
			return nil, fmt.Errorf("register figures: %w", err)
		}
	}
	return r, nil
}

// Families lists what a registry of parts has, but for the Go runtime and the process, sorted by name.
func Families(parts ...Part) []Family {
	out := own()
	for _, p := range parts {
		out = append(out, p.Families...)
	}
	slices.SortFunc(out, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Handler answers scrapes.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Begin counts a request as under way, until the function that it returns is called.
func (r *Registry) Begin() (end func()) {
	r.active.Inc()
	return r.active.Dec
}

// Observe counts a request that was answered. The route is one of few, never what a caller wrote; it may be empty. Long
// answers, such as live tails, are not timed.
func (r *Registry) Observe(route string, status int, took time.Duration, long bool) {
	if route == "" {
		route = "other"
	}
	r.total.WithLabelValues(route, strconv.Itoa(status)).Inc()
	if !long {
		r.took.WithLabelValues(route).Observe(took.Seconds())
	}
}

// BeginCall counts a call of AWS's clients as under way, until the function that it returns is called.
func (r *Registry) BeginCall() (end func()) {
	r.awsActive.Inc()
	return r.awsActive.Dec
}

// ObserveCall counts a call of AWS's clients that was answered. Service and operation are those that are served, empty for
// what is not, and code is one of the catalogues of errors, empty for none: never what a caller wrote.
func (r *Registry) ObserveCall(service, operation, code string, took time.Duration) {
	if service == "" {
		service = "other"
	}
	if operation == "" {
		operation = "other"
	}
	if code == "" {
		code = "ok"
	}
	r.awsTotal.WithLabelValues(service, operation, code).Inc()
	r.awsTook.WithLabelValues(service).Observe(took.Seconds())
}

// collector reads the parts.
type collector Registry

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	for _, p := range c.parts {
		err := p.Read(ctx, func(name string, value float64, labels ...string) {
			kind := prometheus.GaugeValue
			if c.kinds[name] == Counter {
				kind = prometheus.CounterValue
			}
			d := c.descs[name]
			if d == nil {
				ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(fmt.Errorf("the figure %q is not declared", name)), fmt.Errorf("the figure %q is not declared", name))
				return
			}
			m, err := prometheus.NewConstMetric(d, kind, value, labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(d, err)
			}
			ch <- m
		})
		if err != nil {
			c.errors.WithLabelValues(p.Name).Inc()
			c.log.Warn("read figures", slog.String("part", p.Name), slog.Any("error", err))
		}
	}
}
