// The storage account, with the queues of routes.json.
param location string
param tags object
@minLength(13)
param token string
param sku string

@description('The app settings of the user, which routes.json can name as %NAME%.')
param appSettings object

@description('Whether only private endpoints and operatorIps reach the account.')
param private bool
param operatorIps array
param endpointSubnetId string

@description('The DNS zones of the private endpoints, each with its service.')
param zoneIds array

// any(): another content of the file must not change types here.
var routing = any(loadJsonContent('../routes.json'))
// Each queue once, with its settings replaced, as the app reads it.
var queueNames = union(
  map(
    concat(map(routing.routes, route => route.queue), [routing.rejectedQueue]),
    queue =>
      reduce(any(items(appSettings)), queue, (name, setting) => replace(name, '%${setting.key}%', trim(setting.value)))
  ),
  []
)

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: 'st${token}'
  location: location
  tags: tags
  sku: { name: sku }
  kind: 'StorageV2'
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: private && empty(operatorIps) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: private ? 'Deny' : 'Allow'
      ipRules: [for address in private ? operatorIps : []: { action: 'Allow', value: address }]
    }
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource container 'containers' = {
      name: 'packages'
    }
  }

  resource queueService 'queueServices' = {
    name: 'default'

    resource queues 'queues' = [
      for name in queueNames: {
        name: name
      }
    ]
  }

  resource tableService 'tableServices' = {
    name: 'default'

    // The ledger of recovered deliveries.
    resource recovered 'tables' = {
      name: 'acrrecovered'
    }
  }
}

resource endpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [
  for zone in zoneIds: {
    name: 'pe-${zone.service}-${token}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: endpointSubnetId
      }
      privateLinkServiceConnections: [
        {
          name: zone.service
          properties: {
            privateLinkServiceId: storage.id
            groupIds: [zone.service]
          }
        }
      ]
    }
  }
]

resource names 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [
  for (zone, index) in zoneIds: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: zone.service
          properties: {
            privateDnsZoneId: zone.id
          }
        }
      ]
    }
  }
]

output name string = storage.name
