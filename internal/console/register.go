package console

import (
	"net/http"
	"reflect"
	"strings"

	"spoor/internal/iam"
)

const specPath = "/openapi.json"

var problemType = reflect.TypeFor[Problem]()

// register adds all routes.
func (c *Console) register() {
	c.registerService()
	c.registerEvents()
	c.registerQuery()
	c.registerTail()
	c.registerSources()
	c.registerStore()
	c.registerAccess()
	c.registerKeys()
	c.registerRoles()
	catalog := c.o.Catalog
	if catalog == nil {
		catalog = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tell(w, r, missing("catalogue")) })
	} else {
		catalog = http.StripPrefix(strings.TrimSuffix(catalogPath, "/"), catalog)
	}
	c.raw(catalogPath, iam.ReadCatalog, catalog)
}
