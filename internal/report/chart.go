package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/safetext"
)

// chart is the timeline as it is drawn: findings by level over a histogram of events, coordinates in SVG units.
type chart struct {
	Width, Height float64
	Left, Right   float64 // of the plot
	Lanes         []lane
	Bars          []bar
	Ticks         []tick
	Top, Base     float64 // of the histogram
	Most          string  // events of the highest bar
	Each          string  // how long a bar is
}

type lane struct {
	Name, Level string
	Y, Height   float64
	Marks       []mark
}

type mark struct {
	Anchor, Level, Title string
	X, Y, Width          float64
}

type bar struct {
	X, Y, Width, Height float64
	FailY, FailHeight   float64
	Title               string
}

type tick struct {
	X             float64
	Label, Anchor string
}

// Measures of the chart.
const (
	chartWidth  = 1160
	chartLeft   = 96
	chartRight  = 1148
	chartRow    = 13
	chartRows   = 5 // of one lane; findings that overlap more share the last row
	chartBars   = 180
	chartHeight = 110 // of the histogram
)

func round(f float64) float64 { return math.Round(f*10) / 10 }

// newChart draws the timeline; nil when there is no time to draw.
func newChart(res *hunt.Result) *chart {
	first, last := res.First, res.Last
	for _, h := range res.Stats.Hours {
		if h.Hour.IsZero() {
			continue
		}
		if first.IsZero() || h.Hour.Before(first) {
			first = h.Hour
		}
		if end := h.Hour.Add(time.Hour); end.After(last) {
			last = end
		}
	}
	for i := range res.Findings {
		f := &res.Findings[i]
		if f.First.IsZero() {
			continue
		}
		if first.IsZero() || f.First.Before(first) {
			first = f.First
		}
		if f.Last.After(last) {
			last = f.Last
		}
	}
	if first.IsZero() || !last.After(first) {
		if first.IsZero() {
			return nil
		}
		last = first.Add(time.Hour)
	}
	c := &chart{Width: chartWidth, Left: chartLeft, Right: chartRight}
	// Seconds keep spans of centuries exact enough and cannot overflow as durations do.
	span := float64(last.Unix() - first.Unix())
	span = max(span, 1)
	at := func(t time.Time) float64 {
		f := float64(t.Unix()-first.Unix()) / span
		return chartLeft + min(max(f, 0), 1)*(chartRight-chartLeft)
	}
	y := c.lanes(res, 8, at)
	c.Top = y + 10
	c.Base = c.Top + chartHeight
	c.Height = c.Base + 24
	c.bars(res.Stats.Hours, first, span)
	c.ticks(first, last, span, at)
	return c
}

// lanes places the findings and returns the y below them.
func (c *chart) lanes(res *hunt.Result, y float64, at func(time.Time) float64) float64 {
	for l := detect.Critical; l >= detect.Informational; l-- {
		ln := lane{Name: l.String(), Level: l.String(), Y: y}
		var free [chartRows]float64 // where each row is free from
		rows := 0
		var order []int
		for i := range res.Findings[:min(len(res.Findings), htmlMarks)] {
			if res.Findings[i].Level == l && !res.Findings[i].First.IsZero() {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(a, b int) int { return res.Findings[a].First.Compare(res.Findings[b].First) })
		for _, i := range order {
			f := &res.Findings[i]
			x := at(f.First)
			width := max(at(f.Last)-x, 9)
			x = min(x, chartRight-width)
			row := 0
			for row < chartRows-1 && free[row] > x {
				row++
			}
			free[row] = max(free[row], x+width+3)
			rows = max(rows, row+1)
			title := fmt.Sprintf("%s: %s\n%s\n%s UTC", strings.ToUpper(f.Level.String()), safetext.Terminal(f.Rule.Title, 120), what(f), period(f.First, f.Last))
			ln.Marks = append(ln.Marks, mark{fmt.Sprintf("f%d", i+1), ln.Level, title, round(x), y + 5 + float64(row*chartRow), round(width)})
		}
		if rows == 0 {
			continue
		}
		ln.Height = float64(rows*chartRow + 9)
		y += ln.Height + 4
		c.Lanes = append(c.Lanes, ln)
	}
	return y
}

// bars joins hours to at most chartBars bars.
func (c *chart) bars(hours []hunt.HourCount, first time.Time, span float64) {
	start := first.Truncate(time.Hour).Unix()
	total := (span + float64(first.Unix()-start)) / 3600
	each := int64(max(math.Ceil(total/chartBars), 1))
	for _, nice := range [...]int64{1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 96, 7 * 24, 10 * 24, 14 * 24, 30 * 24, 60 * 24, 91 * 24, 182 * 24, 365 * 24} {
		if nice >= each {
			each = nice
			break
		}
	}
	type sum struct{ count, failed int64 }
	sums := map[int64]sum{}
	most := int64(0)
	for _, h := range hours {
		if h.Hour.IsZero() {
			continue
		}
		k := (h.Hour.Unix() - start) / (3600 * each)
		s := sums[k]
		s.count += h.Count
		s.failed += h.Failed
		sums[k] = s
		most = max(most, s.count)
	}
	if most <= 0 {
		return
	}
	c.Most = number(most)
	c.Each = "an hour"
	switch {
	case each == 24:
		c.Each = "a day"
	case each > 24 && each%24 == 0:
		c.Each = plural(each/24, "day")
	case each > 1:
		c.Each = plural(each, "hour")
	}
	perSecond := (chartRight - chartLeft) / span
	keys := make([]int64, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		s := sums[k]
		from := start + k*3600*each
		x := chartLeft + float64(from-first.Unix())*perSecond
		end := min(x+float64(3600*each)*perSecond, chartRight)
		x = max(x, chartLeft)
		height := max(float64(s.count)/float64(most)*chartHeight, 1)
		fail := 0.0
		if s.failed > 0 {
			fail = max(float64(s.failed)/float64(most)*chartHeight, 1)
		}
		t := time.Unix(from, 0).UTC()
		c.Bars = append(c.Bars, bar{round(x), round(c.Base - height), round(max(end-x-min((end-x)*0.15, 2), 0.6)), round(height), round(c.Base - fail), round(fail),
			fmt.Sprintf("%s UTC, %s\n%s, %s failed", t.Format(minutes), c.Each, plural(s.count, "event"), number(s.failed))})
	}
}

// ticks labels the time axis with at most ten round times: of the clock up to two weeks apart, else of the calendar.
func (c *chart) ticks(first, last time.Time, span float64, at func(time.Time) float64) {
	const most, day = 9, 86400
	add := func(t time.Time, layout string) {
		x, anchor := round(at(t)), "middle"
		if x > chartRight-40 {
			anchor = "end"
		}
		c.Ticks = append(c.Ticks, tick{x, t.Format(layout), anchor})
	}
	for _, step := range [...]int64{60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, day, 2 * day, 7 * day, 14 * day} {
		if span/float64(step) > most {
			continue
		}
		layout := "Jan 2 15:04"
		if step >= day {
			layout = "Mon Jan 2"
		}
		for t := (first.Unix() + step - 1) / step * step; t <= last.Unix(); t += step {
			add(time.Unix(t, 0).UTC(), layout)
		}
		return
	}
	for _, months := range [...]int{1, 2, 3, 6, 12, 24, 60, 120, 600, 6000, 60000} {
		if span/float64(months)/(30.4*day) > most {
			continue
		}
		layout := "Jan 2006"
		if months >= 12 {
			layout = "2006"
		}
		n := (first.UTC().Year()*12 + int(first.UTC().Month()) - 1 + months) / months * months
		for {
			t := time.Date(n/12, time.Month(n%12+1), 1, 0, 0, 0, 0, time.UTC)
			if t.After(last) {
				return
			}
			add(t, layout)
			n += months
		}
	}
}
