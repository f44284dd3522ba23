// The whole deployment: the app, its storage, its log and its alerts in a resource group of its own,
// and the webhooks on registries that exist already.
targetScope = 'subscription'

@description('The name of this deployment. The resource group is named after it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Where the app runs. Choose the location of the registry, or one near it.')
@metadata({ azd: { type: 'location' } })
param location string

@description('The resource ids of the registries, separated by commas. Append @<region>+<region> to an id to create a webhook for each of these replicas of a geo-replicated registry. Without it, one webhook is created for the home region.')
param registryIds string = ''

@description('The resource id of a single registry, instead of or in addition to registryIds.')
param registryId string = ''

@description('Whether to create the webhooks. They send the function key, which exists only after the code is deployed. A hook of azd sets this parameter.')
param createWebhook bool = false

@description('The name of the webhooks: letters and digits (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcontainerregistry). A webhook of a replica has the region appended. Empty: a name that is unique to this environment.')
@maxLength(32)
param webhookName string = ''

@description('The actions that the webhooks send, separated by commas. Empty: all that raise an event.')
param webhookActions string = ''

@description('The repositories and tags that the webhooks send. Empty for all, <repository>:* or <repository>:<tag> for some.')
param webhookScope string = ''

@description('The name of the function key that the webhooks send.')
param keyName string = 'default'

@description('Whether the app recovers deliveries that never arrived from the delivery log of the registries. It needs a role on each registry, which this template creates.')
param recoverMissed bool = true

@description('When the app recovers missed deliveries, as a six-field NCRONTAB expression (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions). Empty: every five minutes. If it is less often than every ten minutes, give the alert "unrecovered" a lower threshold.')
param reconcileSchedule string = ''

@description('The number of instances that are always ready for deliveries. 0 is cheaper, but cold starts can lose deliveries until they are recovered.')
@minValue(0)
param alwaysReadyInstances int = 1

@description('The largest number of instances at a time.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('The number of deliveries that an instance handles at a time. The platform\'s default for a Python app is 1 (https://learn.microsoft.com/azure/azure-functions/functions-concurrency): a second simultaneous delivery would then wait for a cold instance. docs/decisions/0010-instance-concurrency.md has the measurements behind the default.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 32

@description('The memory of an instance, in MB (https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan).')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('What an update of code or settings does. Recreate restarts all instances at once. RollingUpdate is a preview, helps only from two always-ready instances on, and takes effect with the next update (https://learn.microsoft.com/azure/azure-functions/flex-consumption-site-updates).')
@allowed(['Recreate', 'RollingUpdate'])
param siteUpdateStrategy string = 'Recreate'

@description('The redundancy of the storage account. A queue holds the only copy of an accepted event: zone redundancy keeps it available when a zone fails. Choose Standard_LRS in a location without availability zones.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param storageSku string = 'Standard_ZRS'

@description('Whether the instances are spread over availability zones. At least two instances of each scaling group are then always ready, and are billed (https://learn.microsoft.com/azure/reliability/reliability-functions).')
param zoneRedundant bool = false

@description('Whether storage is reachable only from a virtual network, which is created, and from operatorIp.')
param vnetEnabled bool = false

@description('The address range of the virtual network: /24 or larger. Empty: 10.0.0.0/24.')
param vnetPrefix string = ''

@description('The public IPv4 addresses that may reach private storage, separated by commas. Empty: none.')
param operatorIp string = ''

@description('Whether the app accepts requests only from the service tag AzureContainerRegistry, which covers the registries of all customers (https://learn.microsoft.com/azure/virtual-network/service-tags-overview), and from allowedIps.')
param restrictInbound bool = false

@description('Further IPv4 addresses or ranges that may call the app, separated by commas: operators, and the machine that deploys.')
param allowedIps string = ''

@description('Further app settings, by name. They replace those that this template sets.')
param appSettings object = {}

@description('The e-mail address that receives the alerts. Empty: they are only in the portal.')
param alertEmail string = ''

@description('Other thresholds than those in alerts.json, by the name of the alert. -1 turns the alert off.')
param alertThresholds object = {}

@description('The object id of a user or group that may read the queues, replay and reconcile. Empty: nobody.')
param operatorId string = ''

@description('The object id of the identity of a consumer, which may take messages from the queues. Empty: nobody.')
param consumerId string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
// Without any(), the types here would depend on the content of the file.
var eventActions = map(
  filter(items(any(loadJsonContent('../shared/actions.json'))), action => action.value.type != null),
  action => action.key
)

var listed = map(filter(map(split(registryIds, ','), entry => trim(entry)), entry => !empty(entry)), entry => {
  id: trim(split(entry, '@')[0])
  regions: contains(entry, '@') ? map(split(split(entry, '@')[1], '+'), region => toLower(trim(region))) : []
})
var single = empty(registryId) || contains(map(listed, entry => toLower(entry.id)), toLower(registryId))
  ? []
  : [{ id: registryId, regions: [] }]
// An app without a list of registries would accept deliveries from everybody.
var registries = empty(concat(listed, single))
  ? fail('Name at least one registry: azd env set ACR_REGISTRY_IDS <resource id>')
  : concat(listed, single)

var webhookPrefix = empty(webhookName) ? 'acr${token}' : webhookName
// A webhook is a regional resource: it sends the events of its replica.
// https://learn.microsoft.com/azure/container-registry/container-registry-geo-replication
var webhooks = flatten(map(
  range(0, length(registries)),
  index =>
    map(empty(registries[index].regions) ? [''] : registries[index].regions, region => {
      registry: index
      region: region
      name: '${webhookPrefix}${region}'
    })
))

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module properties 'registry.bicep' = [
  for registry in registries: {
    scope: resourceGroup(split(registry.id, '/')[2], split(registry.id, '/')[4])
    params: {
      name: last(split(registry.id, '/'))
    }
  }
]

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module network 'network.bicep' = if (vnetEnabled) {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    prefix: empty(vnetPrefix) ? '10.0.0.0/24' : vnetPrefix
  }
}

module storage 'storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    sku: storageSku
    appSettings: appSettings
    private: vnetEnabled
    operatorIps: filter(map(split(operatorIp, ','), address => trim(address)), address => !empty(address))
    endpointSubnetId: network.?outputs.endpointSubnetId ?? ''
    zoneIds: network.?outputs.zoneIds ?? []
  }
}

module access 'access.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    storageName: storage.outputs.name
    insightsName: monitoring.outputs.insightsName
    operatorId: operatorId
    consumerId: consumerId
  }
}

module app 'app.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    identityId: access.outputs.identityId
    clientId: access.outputs.clientId
    storageName: storage.outputs.name
    insightsName: monitoring.outputs.insightsName
    registries: [for (registry, index) in registries: '${properties[index].outputs.loginServer}=${registry.id}']
    // Set from the start: a change of settings when the webhook is created would restart the app.
    webhooks: recoverMissed
      ? join(map(webhooks, webhook => '${registries[webhook.registry].id}/webhooks/${webhook.name}'), ',')
      : ''
    reconcileSchedule: empty(reconcileSchedule) ? '0 */5 * * * *' : reconcileSchedule
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    httpConcurrency: httpConcurrency
    instanceMemoryMB: instanceMemoryMB
    siteUpdateStrategy: siteUpdateStrategy
    zoneRedundant: zoneRedundant && !contains(storageSku, 'ZRS')
      ? fail('A zone-redundant plan needs zone-redundant storage: azd env set ACR_STORAGE_SKU Standard_ZRS')
      : zoneRedundant
    subnetId: network.?outputs.appSubnetId ?? ''
    restrictInbound: restrictInbound
    allowedIps: filter(map(split(allowedIps, ','), address => trim(address)), address => !empty(address))
    appSettings: appSettings
  }
}

module alerts 'alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    insightsName: monitoring.outputs.insightsName
    email: alertEmail
    thresholds: alertThresholds
  }
}

module deliveryLogs 'delivery_log.bicep' = [
  for registry in registries: if (recoverMissed) {
    scope: resourceGroup(split(registry.id, '/')[2], split(registry.id, '/')[4])
    params: {
      registryName: last(split(registry.id, '/'))
      token: token
      principalId: access.outputs.principalId
      operatorId: operatorId
    }
  }
]

module webhook 'webhook.bicep' = [
  for item in webhooks: if (createWebhook) {
    scope: resourceGroup(split(registries[item.registry].id, '/')[2], split(registries[item.registry].id, '/')[4])
    params: {
      registryName: last(split(registries[item.registry].id, '/'))
      location: empty(item.region) ? properties[item.registry].outputs.location : item.region
      name: item.name
      actions: empty(webhookActions) ? eventActions : map(split(webhookActions, ','), action => trim(action))
      repositories: webhookScope
      functionId: app.outputs.functionId
      keyName: keyName
      functionUrl: app.outputs.functionUrl
    }
  }
]

@description('The URL that receives deliveries.')
output FUNCTION_URL string = app.outputs.functionUrl

@description('The resource ids of the webhooks, separated by commas. Empty until they are created.')
output WEBHOOK_IDS string = createWebhook
  ? join(map(webhooks, item => '${registries[item.registry].id}/webhooks/${item.name}'), ',')
  : ''

output APP_PRINCIPAL_ID string = access.outputs.principalId
output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_STORAGE_ACCOUNT_NAME string = storage.outputs.name
